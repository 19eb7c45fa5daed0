//! TEMPORARY.
use super::{Error, Input, Sink, Unit};
use bytes::{BufMut, Bytes, BytesMut};
use media::codec::nal::LengthPrefixed;
use media::codec::h265;

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
        match (p[0] >> 1) & 0x3f {
            48 => { let mut r = &p[2..]; while r.len() > 2 { let l = usize::from(u16::from_be_bytes([r[0], r[1]])); if r.len() < 2 + l { break } let n = Bytes::copy_from_slice(&r[2..2 + l]); self.nal(&n); r = &r[2 + l..]; } }
            49 => { if p[2] & 0x80 != 0 { self.fu.clear(); self.fu.put_u8((p[0] & 0x81) | ((p[2] & 0x3f) << 1)); self.fu.put_u8(p[1]); } self.fu.put_slice(&p[3..]); if p[2] & 0x40 != 0 { let n = self.fu.split(); self.nal(&n); } }
            35 => {}
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

impl Packer {
    /// x
    pub fn new() -> Self { Self::default() }
    /// x
    pub fn set_config(&mut self, r: &[u8]) { if let Ok(c) = h265::Config::parse(r) { self.sets = c.vps.into_iter().chain(c.sps).chain(c.pps).collect(); } }
    /// x
    pub fn pack(&mut self, frame: &media::Frame, sink: &mut impl Sink) {
        let sets = self.sets.clone();
        let mut units: Vec<&[u8]> = Vec::new();
        let own: Vec<&[u8]> = LengthPrefixed::new(&frame.data, 4).map_while(Result::ok).collect();
        let has = own.iter().any(|u| h265::nal_type(u) == h265::NAL_SPS);
        if frame.key && !has { units.extend(sets.iter().map(|b| &b[..])); }
        units.extend(own);
        let max = sink.max_payload();
        let n = units.len();
        for (at, u) in units.into_iter().enumerate() {
            let last = at + 1 == n;
            if u.len() <= max { sink.packet(last, 0, &[u]); continue; }
            let (head, body) = u.split_at(2);
            let chunks: Vec<&[u8]> = body.chunks(max - 3).collect();
            let c = chunks.len();
            for (i, ch) in chunks.into_iter().enumerate() {
                let (s, e) = (i == 0, i + 1 == c);
                let h = [(head[0] & 0x81) | (49 << 1), head[1], (u8::from(s) << 7) | (u8::from(e) << 6) | ((head[0] >> 1) & 0x3f)];
                sink.packet(last && e, 0, &[&h, ch]);
            }
        }
    }
}
