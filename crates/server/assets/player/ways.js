// Which ways there are to play a stream, which of them this browser and this stream allow, and in which order they are tried.
// Nothing here touches the network or the page, so that it can be tested by itself.

/**
 * Every way, best first. `schemas`: the forms of a stream that it needs one of, with the end of its URL for each. `player`: what
 * plays it. `carries`: codecs that this player takes out of this container; whether the browser decodes them is another question.
 *
 * Low-latency HLS comes first because it passes proxies and recovers by itself; FLV has the least delay on a good line.
 */
export const WAYS = [
  {
    id: "ll-hls", player: "hls", schemas: { "hls.fmp4": "/hls.fmp4.m3u8" },
    carries: ["H.264", "H.265", "AV1", "VP9", "AAC", "Opus", "MP3"],
  },
  {
    id: "flv", player: "mpegts", schemas: { rtmp: ".live.flv" },
    carries: ["H.264", "H.265", "AV1", "AAC", "MP3"],
  },
  {
    // The light build of hls.js leaves H.265 in MPEG-TS out.
    id: "hls-ts", player: "hls", schemas: { hls: "/hls.m3u8" },
    carries: ["H.264", "AAC", "MP3"],
  },
  {
    id: "native-hls", player: "native", schemas: { "hls.fmp4": "/hls.fmp4.m3u8", hls: "/hls.m3u8" },
    type: "application/vnd.apple.mpegurl",
    carries: ["H.264", "H.265", "AAC", "MP3"],
  },
  {
    id: "ws-flv", player: "mpegts", schemas: { rtmp: ".live.flv" }, websocket: true,
    carries: ["H.264", "H.265", "AV1", "AAC", "MP3"],
  },
  {
    id: "ts", player: "mpegts", schemas: { ts: ".live.ts" },
    carries: ["H.264", "H.265", "AAC", "MP3"],
  },
  {
    id: "mp4", player: "native", schemas: { fmp4: ".live.mp4" }, type: "video/mp4",
    carries: ["H.264", "H.265", "AV1", "VP9", "AAC", "Opus", "MP3"],
  },
];

/** Typical codec strings (RFC 6381), for streams that do not say their own: main profiles at a level for 1080p. */
const TYPICAL = {
  "H.264": "avc1.640029", "H.265": "hvc1.1.6.L123.B0", AV1: "av01.0.08M.08", VP9: "vp09.00.41.08",
  AAC: "mp4a.40.2", Opus: "opus", MP3: "mp3",
};

/** What this browser can do, for `waysFor`. */
export function abilities(video) {
  // iPhones have the managed kind only.
  const source = self.ManagedMediaSource ?? self.MediaSource;
  return {
    mse: (type) => Boolean(source?.isTypeSupported(type)),
    hasMse: Boolean(source),
    native: (type) => video.canPlayType(type) !== "",
  };
}

/**
 * Judges every way for a stream. `stream` is an entry of the list, or `null` if nothing is known about it (a name that was typed).
 *
 * Returns `{way, suffix, possible, why, sound}` for each, in the order of trying; `why` is `{key, ...values}` of a text, `sound`
 * is false if the picture can be played and the sound cannot.
 */
export function waysFor(stream, able) {
  const judged = WAYS.map((way) => judge(way, stream, able));
  if (stream) return judged;
  // Nothing is known about the stream. FLV is there for every stream of a server with default settings, so it goes first:
  // waiting for a playlist that nobody makes would take as long as waiting for a stream.
  const flv = judged.findIndex((one) => one.way.id === "flv");
  return [judged[flv], ...judged.filter((_, at) => at !== flv)];
}

/** The first possible way that has not been tried, or `null`. */
export function nextWay(judged, tried) {
  return judged.find((one) => one.possible && !tried.includes(one.way.id)) ?? null;
}

function judge(way, stream, able) {
  const no = (key, values = {}) => ({ way, suffix: "", possible: false, sound: false, why: { key, ...values } });
  const schema = Object.keys(way.schemas).find((name) => !stream || stream.schemas.includes(name));
  if (!schema) return no("noSchema", { schema: Object.keys(way.schemas).join(", ") });
  if (way.player === "native" && !able.native(way.type)) return no("noNative", { type: way.type });
  if (way.player !== "native" && !able.hasMse) return no("noMse");
  const yes = (sound, key, values = {}) =>
    ({ way, suffix: way.schemas[schema], possible: true, sound, why: { key, ...values } });
  if (!stream) return yes(true, "unknownStream");

  const plays = (track) => way.carries.includes(track.codec) && decodes(track, way, able);
  const pictures = stream.tracks.filter((track) => track.kind === "video");
  const sounds = stream.tracks.filter((track) => track.kind === "audio");
  const mute = sounds.find((track) => !plays(track));
  const dark = pictures.find((track) => !plays(track));
  if (dark) return no(way.carries.includes(dark.codec) ? "noDecoder" : "notCarried", { codec: dark.codec });
  if (mute && pictures.length === 0) return no("noDecoder", { codec: mute.codec });
  const codecs = [...pictures, ...sounds].filter(plays).map((track) => track.codec).join(" + ");
  // Only mpegts.js can be told to leave the sound alone; the others fail as a whole.
  if (mute && way.player !== "mpegts") return no("noDecoder", { codec: mute.codec });
  if (mute) return yes(false, "pictureOnly", { codecs, codec: mute.codec });
  return yes(true, "allPlays", { codecs });
}

function decodes(track, way, able) {
  const codec = track.rfc6381 ?? TYPICAL[track.codec];
  if (!codec) return false;
  const type = `${track.kind}/mp4; codecs="${codec}"`;
  if (way.player === "native") return able.native(type);
  // MP3 is played as a byte stream of its own where MP4 with MP3 is not taken.
  return able.mse(type) || (track.codec === "MP3" && able.mse("audio/mpeg"));
}

/** The URL of a stream for a way, on the host of the page. */
export function urlFor({ way, suffix }, name, location) {
  const scheme = way.websocket ? location.protocol.replace("http", "ws") : location.protocol;
  const path = name.path.split("/").map(encodeURIComponent).join("/");
  const query = name.query ? `?${name.query}` : "";
  return `${scheme}//${location.host}/${path}${suffix}${query}`;
}

/**
 * The stream that somebody typed, or named in the address of the page: `app/stream`, with parameters for the server's hooks
 * behind a `?` if there are any. `null` if it is no such name.
 */
export function parseName(text) {
  const [path, ...query] = text.trim().replace(/^\/+/, "").split("?");
  return /^[^/]+\/.+/.test(path) ? { path, query: query.join("?") } : null;
}
