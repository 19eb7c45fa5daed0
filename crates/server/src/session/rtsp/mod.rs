//! RTSP connections: publishers and players, over TCP, UDP, multicast and inside HTTP.

mod auth;
mod driver;
pub mod multicast;
mod player;
pub mod tunnel;

use crate::app::App;
use crate::egress::{WRITE_TIMEOUT, write_all};
use crate::session::{Accepted, Io, linger};
use crate::sessions::Registration;
use bytes::BytesMut;
use driver::{Driver, End};
use rtsp::tunnel::Half;
use std::sync::Arc;
use tracing::debug;

/// Serves a connection until it ends.
pub async fn serve<S: Io>(app: Arc<App>, accepted: Accepted<S>) {
    let Accepted {
        io,
        registration,
        tls,
    } = accepted;
    // One level of indirection, so that plain, TLS and tunnelled connections share one driver.
    let mut io: Box<dyn Io> = Box::new(io);
    let mut driver = Box::new(Driver::new(app.clone(), registration, tls));
    match driver.run(&mut io).await {
        End::Closing => close(driver, &mut io).await,
        End::Gone => {}
        End::Tunnel(half) => {
            let (registration, read) = driver.into_parts();
            tunnelled(app, registration, tls, io, read, half).await;
        }
    }
}

/// The stream is let go of before the peer has taken its time.
async fn close(driver: Box<Driver>, io: &mut Box<dyn Io>) {
    let (_registration, _) = driver.into_parts();
    linger(io).await;
}

async fn tunnelled(
    app: Arc<App>,
    registration: Registration,
    tls: bool,
    io: Box<dyn Io>,
    read: BytesMut,
    half: Half,
) {
    match half {
        Half::Get { cookie } => {
            let Some(mut tunnel) = app.tunnels.open(&cookie, io) else {
                debug!(session = %registration.sock.identifier, "an RTSP tunnel of this cookie is open already");
                return;
            };
            if write_all(&mut tunnel, rtsp::tunnel::GET_REPLY.as_bytes(), WRITE_TIMEOUT)
                .await
                .is_err()
            {
                return;
            }
            let mut io: Box<dyn Io> = Box::new(tunnel);
            let mut driver = Box::new(Driver::new(app, registration, tls));
            match driver.run(&mut io).await {
                End::Closing => close(driver, &mut io).await,
                // A tunnel inside a tunnel is nobody's wish.
                End::Gone | End::Tunnel(_) => {}
            }
        }
        Half::Post { cookie } => {
            let half = tunnel::Half {
                io,
                read,
                registration,
            };
            if let Err(mut half) = app.tunnels.join(&cookie, half) {
                debug!(session = %half.registration.sock.identifier, "an RTSP tunnel's POST without its GET");
                let _ = write_all(
                    &mut half.io,
                    rtsp::tunnel::NO_TUNNEL_REPLY.as_bytes(),
                    WRITE_TIMEOUT,
                )
                .await;
                linger(&mut half.io).await;
            }
        }
    }
}
