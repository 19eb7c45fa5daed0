//! TEMPORARY.
use super::{Error, Input, Sink, Unit};
use bytes::{BufMut, Bytes, BytesMut};
use media::codec::nal::LengthPrefixed;
use media::codec::h264;

/// x
#[derive(Debug, Default)]
pub struct Unpacker { buf: BytesMut, fu: BytesMut, ts: Option<i64>, broken: bool }
impl Unpacker {
    /// x
    pub fn new() -> Self { Self::default() }
    fn nal(&mut self, n: &[u8]) { if n.is_empty() { return } self.buf.put_u32(n.len() as u32); self.buf.put_slice(n); }
    /// x
    pub fn push(&mut self, i: Input<'_>, out: &mut Vec<Unit>) -> Result<(), Error> {
        if self.ts != Some(i.timestamp) { self.flush(out); self.ts = Some(i.timestamp); self.broken = false; }
        if i.gap { self.broken = true; }
        let p = i.payload; if p.len() < 3 { return Ok(()) }
        match p[0] & 0x1f {
            24 => { let mut r = &p[1..]; while r.len() > 2 { let l = usize::from(u16::from_be_bytes([r[0], r[1]])); if r.len() < 2 + l { break } let n = Bytes::copy_from_slice(&r[2..2 + l]); self.nal(&n); r = &r[2 + l..]; } }
            28 => { if p[1] & 0x80 != 0 { self.fu.clear(); self.fu.put_u8((p[0] & 0xe0) | (p[1] & 0x1f)); } self.fu.put_slice(&p[2..]); if p[1] & 0x40 != 0 { let n = self.fu.split(); self.nal(&n); } }
            9 => {}
            _ => { let n = p.clone(); self.nal(&n) }
        }
        if i.marker { self.flush(out); }
        Ok(())
    }
    /// x
    pub fn flush(&mut self, out: &mut Vec<Unit>) {
        if let Some(t) = self.ts.take() { let d = self.buf.split().freeze(); if !d.is_empty() && !self.broken { out.push(Unit { timestamp: t, data: d }); } }
    }
}
/// x
#[derive(Debug, Default)]
pub struct Packer { sets: Vec<Bytes> }
/// x
#[derive(Debug)]
pub struct Options { /// x
pub stap_a: bool }
impl Packer {
    /// x
    pub fn new(_: Options) -> Self { Self::default() }
    /// x
    pub fn set_config(&mut self, r: &[u8]) { if let Ok(c) = h264::Config::parse(r) { self.sets = c.sps.into_iter().chain(c.pps).collect(); } }
    /// x
    pub fn pack(&mut self, frame: &media::Frame, sink: &mut impl Sink) {
        let sets = self.sets.clone();
        let mut units: Vec<&[u8]> = Vec::new();
        let own: Vec<&[u8]> = LengthPrefixed::new(&frame.data, 4).map_while(Result::ok).collect();
        let has = own.iter().any(|u| h264::nal_type(u) == h264::NAL_SPS);
        if frame.key && !has { units.extend(sets.iter().map(|b| &b[..])); }
        units.extend(own);
        let max = sink.max_payload();
        let n = units.len();
        for (at, u) in units.into_iter().enumerate() {
            let last = at + 1 == n;
            if u.len() <= max { sink.packet(last, 0, &[u]); continue; }
            let (head, body) = u.split_at(1);
            let chunks: Vec<&[u8]> = body.chunks(max - 2).collect();
            let c = chunks.len();
            for (i, ch) in chunks.into_iter().enumerate() {
                let (s, e) = (i == 0, i + 1 == c);
                let h = [(head[0] & 0xe0) | 28, (u8::from(s) << 7) | (u8::from(e) << 6) | (head[0] & 0x1f)];
                sink.packet(last && e, 0, &[&h, ch]);
            }
        }
    }
}
