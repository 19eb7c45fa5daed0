//! The synthetic camera: an endless FLV over HTTP, made for each connection.

use crate::egress::{WRITE_TIMEOUT, write_all};
use bytes::Bytes;
use container::flv::{Muxer, Options};
use media::track::{AudioParams, VideoParams};
use media::{CodecId, Frame, MediaTime, Mux, Packet, Track, TrackId, TrackParams};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use testpicture::{TestPicture, silence};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

const WIDTH: u32 = 640;
const HEIGHT: u32 = 360;
const FPS: u32 = 25;
const SAMPLE_RATE: u32 = 44_100;
const CHANNELS: u8 = 2;

/// Pictures go out when they are due; a camera does not catch up.
const PERIOD: Duration = Duration::from_millis(1000 / FPS as u64);

/// Most connections at a time: each stream of the demo is pulled once.
const MAX_CONNECTIONS: usize = 8;

const VIDEO: TrackId = TrackId(0);
const AUDIO: TrackId = TrackId(1);

/// Serves the camera to whoever connects.
pub async fn serve(listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((socket, _)) = accepted
                    && connections.len() < MAX_CONNECTIONS
                {
                    connections.spawn(async move {
                        if let Err(error) = stream(socket).await {
                            tracing::debug!(error = format!("{error:#}"), "the camera's connection ended");
                        }
                    });
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn stream(mut socket: TcpStream) -> anyhow::Result<()> {
    // One request, whatever it says: the camera has one stream.
    let mut request = [0; 4096];
    timeout(Duration::from_secs(5), socket.read(&mut request)).await??;
    write_all(
        &mut socket,
        b"HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\nConnection: close\r\n\r\n",
        WRITE_TIMEOUT,
    )
    .await?;

    let mut camera = Camera::new()?;
    let mut packets = camera.muxer.preamble();
    let mut clock = interval(PERIOD);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for n in 0.. {
        clock.tick().await;
        camera.picture(n, &mut packets);
        for part in packets.drain(..).flat_map(|packet| packet.parts) {
            write_all(&mut socket, &part, WRITE_TIMEOUT).await?;
        }
    }
    Ok(())
}

struct Camera {
    picture: TestPicture,
    sound: Bytes,
    sounds: i64,
    muxer: Muxer,
}

impl Camera {
    fn new() -> anyhow::Result<Self> {
        let picture = TestPicture::new(WIDTH, HEIGHT, FPS)?;
        let silence = silence::aac(SAMPLE_RATE, CHANNELS)?;
        let video = VideoParams {
            width: WIDTH,
            height: HEIGHT,
            fps: FPS as f32,
        };
        let audio = AudioParams {
            sample_rate: SAMPLE_RATE,
            channels: CHANNELS,
            sample_bits: 16,
        };
        let tracks = [
            Track {
                id: VIDEO,
                codec: CodecId::H264,
                config: Some(picture.avcc()),
                params: TrackParams::Video(video),
                wire: None,
            },
            Track {
                id: AUDIO,
                codec: CodecId::Aac,
                config: Some(silence.config),
                params: TrackParams::Audio(audio),
                wire: None,
            },
        ];
        let mut muxer = Muxer::new(Options {
            enhanced: true,
            server: "Tidegate demo".to_owned(),
        });
        muxer.set_tracks(&tracks, &mut Vec::new());
        Ok(Self {
            picture,
            sound: silence.frame,
            sounds: 0,
            muxer,
        })
    }

    /// Picture `n`, with the clock that it shows, and the sound that belongs to it.
    fn picture(&mut self, n: u64, out: &mut Vec<Packet>) {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis());
        let time = MediaTime::from_ticks(i64::try_from(n).unwrap_or(i64::MAX), FPS);
        let picture = self.picture.frame(n, u64::try_from(wall).unwrap_or(0));
        let frame = Frame {
            track: VIDEO,
            dts: time,
            pts: time,
            key: picture.key,
            data: picture.data,
            wire: None,
        };
        self.muxer.write(&frame, out);
        loop {
            let at = MediaTime::from_ticks(self.sounds * i64::from(silence::SAMPLES_PER_FRAME), SAMPLE_RATE);
            if at > time {
                return;
            }
            self.muxer.write(
                &Frame {
                    track: AUDIO,
                    dts: at,
                    pts: at,
                    key: true,
                    data: self.sound.clone(),
                    wire: None,
                },
                out,
            );
            self.sounds += 1;
        }
    }
}
