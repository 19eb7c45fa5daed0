//! One track while it is read: decoder configuration and parameters, from headers and from the frames themselves. What every
//! container and payload format needs on its way in.

use super::{CodecId, Error as CodecError, MediaKind, aac, av1, g711, h264, h265, mp3, nal, opus, vp8, vp9};
use crate::track::{AudioParams, VideoParams};
use crate::{Track, TrackId, TrackParams};
use bytes::Bytes;

/// Why a header or a frame was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Its bytes are not what the codec's standard allows.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A frame came before anything that says how to decode it.
    #[error("a frame before any decoder configuration")]
    BeforeConfig,
}

/// What is known about a track so far.
#[derive(Debug)]
pub struct Source {
    codec: CodecId,
    /// The last header as it came. A repeated one is ignored, also when the frames have brought a newer configuration since.
    header: Option<Bytes>,
    /// Bytes of the length fields of H.264 and H.265 as the sender writes them; canonical are 4, also in `state`.
    length_size: u8,
    state: State,
    /// The configuration record in canonical form.
    config: Option<Bytes>,
    /// Video parameters.
    video: VideoParams,
    /// Audio parameters.
    audio: AudioParams,
}

#[derive(Debug)]
enum State {
    /// Nothing beyond the record and the parameters.
    Plain,
    H264(h264::Config),
    H265(h265::Config),
    Av1(av1::Config),
}

/// A frame in canonical form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The payload of a [`crate::Frame`].
    pub data: Bytes,
    /// Decoding can start here.
    pub key: bool,
}

impl Source {
    /// A track of which nothing is known but its codec.
    pub fn new(codec: CodecId) -> Self {
        Self {
            codec,
            header: None,
            length_size: 4,
            state: State::Plain,
            config: None,
            video: VideoParams::default(),
            audio: AudioParams::default(),
        }
    }

    /// Its codec.
    pub fn codec(&self) -> CodecId {
        self.codec
    }

    /// The configuration record in canonical form, as [`crate::Track::config`] wants it.
    pub fn config(&self) -> Option<&Bytes> {
        self.config.as_ref()
    }

    /// Most frames that are decoded before one that is shown before them; `None` where the headers do not tell.
    pub fn reorder(&self) -> Option<u8> {
        match &self.state {
            State::H264(config) => config.reorder(),
            State::H265(config) => config.reorder(),
            State::Plain | State::Av1(_) => None,
        }
    }

    /// What is known of picture or sound.
    pub fn params(&self) -> TrackParams {
        match self.codec.kind() {
            MediaKind::Video => TrackParams::Video(self.video),
            MediaKind::Audio => TrackParams::Audio(self.audio),
        }
    }

    /// The track as far as it is known, under this number. `None` until a player could be set up for it: codecs without a configuration
    /// record of their own are known by their frames only.
    pub fn track(&self, id: TrackId) -> Option<Track> {
        let track = Track {
            id,
            codec: self.codec,
            config: self.config.clone(),
            params: self.params(),
            wire: None,
        };
        let known = match &track.params {
            TrackParams::Video(video) => track.codec.needs_config() || video.width > 0,
            TrackParams::Audio(audio) => track.codec.needs_config() || audio.sample_rate > 0,
        };
        (known && track.ready()).then_some(track)
    }

    /// Says what is known of the sound from elsewhere, such as an SDP. Headers and frames know better.
    pub fn set_audio(&mut self, audio: AudioParams) {
        self.audio = audio;
    }

    /// Takes a configuration record: `avcC`, `hvcC`, `av1C`, `vpcC`, AudioSpecificConfig or `OpusHead`.
    ///
    /// # Errors
    ///
    /// It is not one; what was known stays.
    pub fn set_config(&mut self, header: &Bytes) -> Result<(), Error> {
        if self.header.as_ref() == Some(header) {
            return Ok(());
        }
        // A copy, so that the few bytes do not keep a whole read buffer alive.
        let header = Bytes::copy_from_slice(header);
        match self.codec {
            CodecId::H264 => {
                let mut config = h264::Config::parse(&header)?;
                self.length_size = std::mem::replace(&mut config.length_size, 4);
                let record = if self.length_size == 4 {
                    header.clone()
                } else {
                    config.build()
                };
                (self.video, self.config, self.state) = (config.params(), Some(record), State::H264(config));
            }
            CodecId::H265 => {
                let mut config = h265::Config::parse(&header)?;
                self.length_size = std::mem::replace(&mut config.length_size, 4);
                let record = if self.length_size == 4 {
                    header.clone()
                } else {
                    config.build()
                };
                (self.video, self.config, self.state) = (config.params(), Some(record), State::H265(config));
            }
            CodecId::Av1 => {
                let config = av1::Config::parse(&header)?;
                (self.video, self.config, self.state) =
                    (config.params(), Some(header.clone()), State::Av1(config));
            }
            CodecId::Vp9 => self.config = Some(vp9::Config::parse(&header)?.build()),
            CodecId::Aac => {
                self.audio = aac::Config::parse(&header)?.params();
                self.config = Some(header.clone());
            }
            CodecId::Opus => {
                self.audio = opus::Head::parse(&header)?.params();
                self.config = Some(header.clone());
            }
            // No configuration is defined for them; whatever it is, the frames tell more.
            CodecId::Vp8
            | CodecId::G711A
            | CodecId::G711U
            | CodecId::Mp3
            | CodecId::L16
            | CodecId::Jpeg
            | CodecId::Other(_) => {}
        }
        self.header = Some(header);
        Ok(())
    }

    /// Takes a coded frame: reads from it what the headers did not tell, and brings it into canonical form. `None` if nothing
    /// is left of it. `flagged`: its sender calls it a key frame. `stereo`: its sender says that G.711 has two channels.
    ///
    /// # Errors
    ///
    /// It cannot be read, or came too early. It is to be left out.
    pub fn frame(&mut self, data: Bytes, flagged: bool, stereo: bool) -> Result<Option<Ready>, Error> {
        if data.is_empty() {
            return Ok(None);
        }
        let ready = match self.codec {
            CodecId::H264 => self.h264(data, flagged)?,
            CodecId::H265 => self.h265(data, flagged)?,
            CodecId::Av1 => self.av1(&data)?,
            CodecId::Vp8 => {
                if let Some(params) = vp8::params(&data) {
                    self.video = params;
                }
                self.known(self.video.width > 0)?;
                Ready {
                    key: vp8::is_key(&data),
                    data,
                }
            }
            CodecId::Vp9 => self.vp9(data)?,
            CodecId::Aac => {
                self.known(self.config.is_some())?;
                Ready { data, key: true }
            }
            CodecId::Opus => {
                if self.config.is_none() {
                    let head = opus::Head::new(if opus::is_stereo(&data) { 2 } else { 1 });
                    self.audio = head.params();
                    self.config = Some(head.build());
                }
                Ready { data, key: true }
            }
            CodecId::G711A | CodecId::G711U => {
                if self.audio.sample_rate == 0 {
                    self.audio = AudioParams {
                        channels: if stereo { 2 } else { 1 },
                        ..g711::PARAMS
                    };
                }
                Ready { data, key: true }
            }
            CodecId::Mp3 => {
                match mp3::Header::parse(&data) {
                    Ok(header) => self.audio = header.params(),
                    // Some senders cut frames at odd places; once the track is known, players find the next sync word.
                    Err(_) if self.audio.sample_rate > 0 => {}
                    Err(error) => return Err(error.into()),
                }
                Ready { data, key: true }
            }
            // Every picture of Motion JPEG is whole; of what is not known, nothing else can be said.
            CodecId::L16 | CodecId::Jpeg | CodecId::Other(_) => Ready { data, key: true },
        };
        Ok(Some(ready).filter(|ready| !ready.data.is_empty()))
    }

    fn h264(&mut self, data: Bytes, flagged: bool) -> Result<Ready, Error> {
        let data = nal::with_four_byte_lengths(&data, self.length_size)?;
        let contents = h264::Contents::of(&data)?;
        if contents.parameter_sets {
            let changed = match &mut self.state {
                State::H264(config) => config.update(&data),
                State::Plain | State::H265(_) | State::Av1(_) => match h264::Config::from_frame(&data) {
                    Some(config) => {
                        self.state = State::H264(config);
                        true
                    }
                    None => false,
                },
            };
            if changed && let State::H264(config) = &self.state {
                self.video = config.params();
                self.config = Some(config.build());
            }
        }
        self.known(self.config.is_some())?;
        Ok(Ready {
            data,
            key: contents.is_key(flagged),
        })
    }

    fn h265(&mut self, data: Bytes, flagged: bool) -> Result<Ready, Error> {
        let data = nal::with_four_byte_lengths(&data, self.length_size)?;
        let contents = h265::Contents::of(&data)?;
        if contents.parameter_sets {
            let changed = match &mut self.state {
                State::H265(config) => config.update(&data),
                State::Plain | State::H264(_) | State::Av1(_) => match h265::Config::from_frame(&data) {
                    Some(config) => {
                        self.state = State::H265(config);
                        true
                    }
                    None => false,
                },
            };
            if changed && let State::H265(config) = &self.state {
                self.video = config.params();
                self.config = Some(config.build());
            }
        }
        self.known(self.config.is_some())?;
        Ok(Ready {
            data,
            key: contents.is_key(flagged),
        })
    }

    fn av1(&mut self, data: &Bytes) -> Result<Ready, Error> {
        let contents = av1::Contents::of(data)?;
        let changed = match (&mut self.state, &contents.sequence_header) {
            (State::Av1(config), _) => config.update(&contents),
            (State::Plain | State::H264(_) | State::H265(_), Some(obu)) => {
                self.state = State::Av1(av1::Config::from_sequence_header(obu)?);
                true
            }
            (State::Plain | State::H264(_) | State::H265(_), None) => false,
        };
        if changed && let State::Av1(config) = &self.state {
            self.video = config.params();
            self.config = Some(config.build());
        }
        self.known(self.config.is_some())?;
        Ok(Ready {
            data: av1::without_delimiters(data, &contents),
            key: contents.key,
        })
    }

    fn vp9(&mut self, data: Bytes) -> Result<Ready, Error> {
        let header = vp9::Header::parse(&data)?;
        if let vp9::Header::Key(key) = header {
            self.video = key.params();
            // A record of the sender's own stays; it knows the level.
            if self.header.is_none() {
                self.config = Some(key.config().build());
            }
        }
        self.known(self.video.width > 0)?;
        Ok(Ready {
            data,
            key: matches!(header, vp9::Header::Key(_)),
        })
    }

    /// Refuses frames until enough is known to announce the track.
    fn known(&self, known: bool) -> Result<(), Error> {
        if known { Ok(()) } else { Err(Error::BeforeConfig) }
    }
}
