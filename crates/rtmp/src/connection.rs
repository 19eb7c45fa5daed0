//! What both kinds of session do alike behind the handshake: read messages, acknowledge, answer pings, write messages.

use crate::chunk::{self, CONTROL_CSID, Header, Limits, MAX_CHUNK_SIZE};
use crate::message::{BANDWIDTH_DYNAMIC, Command, Message, UserControl, type_id};
use crate::{Error, MIN_CHUNK_SIZE};
use bytes::BytesMut;

/// Acknowledge so often until the peer says how often it wants it. Flash's own window; encoders exist that stop sending without
/// acknowledgements although they never named a window.
const DEFAULT_WINDOW: u32 = 2_500_000;

/// Chunk stream of commands, as other servers use it.
const COMMAND_CSID: u32 = 3;

#[derive(Debug)]
pub(crate) struct Connection {
    reader: chunk::Reader,
    writer: chunk::Writer,
    /// The peer wants an acknowledgement each so many bytes.
    window: u32,
    /// Bytes received when the last acknowledgement was sent.
    acknowledged: u64,
    /// The window that we told the peer, if we did.
    announced_window: Option<u32>,
}

impl Connection {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            reader: chunk::Reader::new(limits),
            writer: chunk::Writer::default(),
            window: DEFAULT_WINDOW,
            acknowledged: 0,
            announced_window: None,
        }
    }

    /// The next message that a session must see. Acknowledgement, window, bandwidth and ping messages are dealt with here;
    /// answers go to `out`.
    pub(crate) fn next(
        &mut self,
        input: &mut BytesMut,
        out: &mut BytesMut,
    ) -> Result<Option<Message>, Error> {
        loop {
            // Bytes that wait in `input` count: a peer with a small window may not send the rest before.
            self.acknowledge(self.reader.position() + input.len() as u64, out);
            let Some(message) = self.reader.next(input)? else {
                return Ok(None);
            };
            let at = self.reader.position();
            match Message::parse(message).map_err(|source| Error::Message { at, source })? {
                Message::Acknowledgement(_) => {}
                Message::WindowAckSize(0) => {}
                Message::WindowAckSize(window) => self.window = window,
                // Section 5.4.5: answer with the window, if it is another than the last one sent.
                Message::PeerBandwidth(bandwidth) => {
                    if self.announced_window != Some(bandwidth) {
                        self.window_ack_size(bandwidth, out);
                    }
                }
                Message::UserControl(UserControl::PingRequest(time)) => {
                    self.user_control(UserControl::PingResponse(time), out);
                }
                message @ (Message::UserControl(_)
                | Message::Media(_)
                | Message::Metadata(_)
                | Message::Aggregate(_)
                | Message::Command(_)
                | Message::Other { .. }) => return Ok(Some(message)),
            }
        }
    }

    /// RTMP 1.0, section 5.4.3: the sequence number is the count of bytes, modulo 2^32.
    fn acknowledge(&mut self, received: u64, out: &mut BytesMut) {
        if received - self.acknowledged >= u64::from(self.window) {
            self.acknowledged = received;
            self.control(type_id::ACKNOWLEDGEMENT, &(received as u32).to_be_bytes(), out);
        }
    }

    pub(crate) fn window_ack_size(&mut self, window: u32, out: &mut BytesMut) {
        self.announced_window = Some(window);
        self.control(type_id::WINDOW_ACK_SIZE, &window.to_be_bytes(), out);
    }

    pub(crate) fn peer_bandwidth(&self, bandwidth: u32, out: &mut BytesMut) {
        let [a, b, c, d] = bandwidth.to_be_bytes();
        self.control(type_id::SET_PEER_BANDWIDTH, &[a, b, c, d, BANDWIDTH_DYNAMIC], out);
    }

    pub(crate) fn set_chunk_size(&mut self, size: u32, out: &mut BytesMut) {
        self.writer
            .set_chunk_size(size.clamp(MIN_CHUNK_SIZE, MAX_CHUNK_SIZE), out);
    }

    pub(crate) const fn chunk_size(&self) -> u32 {
        self.writer.chunk_size()
    }

    pub(crate) fn user_control(&self, event: UserControl, out: &mut BytesMut) {
        let mut body = BytesMut::with_capacity(10);
        event.encode(&mut body);
        self.control(type_id::USER_CONTROL, &body, out);
    }

    pub(crate) fn command(&self, command: &Command, out: &mut BytesMut) {
        let header = Header {
            csid: COMMAND_CSID,
            type_id: type_id::COMMAND_AMF0,
            stream_id: command.stream_id,
            timestamp: 0,
        };
        self.writer.write(&header, &command.encode(), out);
    }

    fn control(&self, type_id: u8, body: &[u8], out: &mut BytesMut) {
        out.reserve(16 + body.len());
        self.writer.write(
            &Header {
                csid: CONTROL_CSID,
                type_id,
                stream_id: 0,
                timestamp: 0,
            },
            body,
            out,
        );
    }
}
