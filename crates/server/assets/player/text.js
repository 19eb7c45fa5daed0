// All words of the page, in English and in Chinese.

const WORDS = {
  en: {
    title: "Tidegate player",
    signInTitle: "Sign in to see the streams", secret: "API secret", signIn: "Sign in", signOut: "Sign out",
    signInNote: "The secret stays in this page; a digest of it is sent.",
    badSecret: "The secret is wrong, or took too long: try again.", streams: "Live streams", noStreams: "No stream is live now.",
    leftOut: "{count} more are not shown; type the name.", listFailed: "The list cannot be read: {text}",
    name: "Stream", namePlaceholder: "app/stream", play: "Play", stop: "Stop", way: "Way", automatic: "automatic",
    badName: "A stream has the form app/stream.",
    readers: "{count} watching", alive: "for {time}",
    idle: "Choose a stream, or type its name.",
    waiting: "Waiting for the stream {name} …", playing: "Playing {name}", stopped: "Stopped.",
    ended: "The stream ended.", blocked: "The browser waits for a click on the picture's play button.",
    byHand: "{way}, chosen by hand: {why}", byItself: "{way}: {why}",
    failedNext: "{way} failed ({text}); trying {next}.", failed: "{way} failed: {text}",
    withoutSound: "The sound cannot be played here; going on without it.",
    nothingPlays: "This browser has no way to play the stream. {reasons}",
    "ll-hls": "Low-latency HLS (fMP4)", flv: "HTTP-FLV", "hls-ts": "HLS (MPEG-TS)", "native-hls": "HLS by the browser itself",
    "ws-flv": "WebSocket-FLV", ts: "HTTP-TS", mp4: "HTTP-fMP4 by the browser itself",
    noSchema: "the stream has no {schema}", noNative: "the browser does not play {type} by itself",
    noMse: "the browser has no Media Source Extensions", noDecoder: "the browser does not decode {codec} this way",
    notCarried: "{codec} does not go this way", pictureOnly: "the browser plays {codecs}, but not the sound ({codec})",
    allPlays: "the stream has it and the browser plays {codecs}", unknownStream: "nothing is known about the stream yet, this is tried",
    noPicture: "media comes, but no picture",
    missing: "there is no such stream, and nothing opened it in time", refused: "the server refused it: {text}",
    unreachable: "no connection to the server", lost: "the connection broke", media: "the browser cannot play this: {text}",
    latency: "Latency", firstPicture: "First picture", resolution: "Size", codec: "Codec", frames: "Frames", bitrate: "Bit rate",
    decodedDropped: "{decoded} decoded, {dropped} dropped", ms: "{value} ms", kbps: "{value} kbit/s",
    latencyBuffer: "Measured: from the picture shown to the end of what the browser has received. Not in it: network, server and camera, which FLV and TS do not tell.",
    latencyEdge: "Measured: how far the picture shown is behind the live edge, by the playlist and its age (hls.js).",
    latencyClock: "Measured: this computer's clock minus the time that the server wrote beside the picture (PROGRAM-DATE-TIME). Right as far as both clocks are; behind the live edge: {edge} ms.",
    latencyNative: "Measured: from the picture shown to the end of what can be played. The browser tells no more.",
    firstPictureTip: "From the click to the first picture on the screen.",
    bitrateTip: "Media received over the last seconds.", framesTip: "As the browser counts them.",
    unknown: "–", listNote: "Renewed every 3 s.", apiPage: "API",
    apiTitle: "Tidegate API", apiPlayer: "Player", apiFilter: "Find",
    apiSecretNote: "Kept in this page only, and sent in a request header. Not needed if you are signed in on the player page.",
    apiLines: "one key=value per line", apiDefault: "default {value}", apiRequired: "required", apiMore: "{count} more parameters",
    apiMethod: "Method", apiSend: "Send", apiReply: "Reply", apiWaiting: "Waiting for the reply …",
    apiAnswered: "Status {status} after {ms} ms", apiFailed: "No reply: {text}",
    apiBytes: "{count} bytes of {kind}", apiCut: "… {count} more characters",
  },
  zh: {
    title: "Tidegate 播放器",
    signInTitle: "登录后查看流列表", secret: "API 密钥", signIn: "登录", signOut: "退出登录",
    signInNote: "密钥不离开本页面，只发送它的摘要。",
    badSecret: "密钥错误或已超时，请重试。", streams: "在线的流", noStreams: "现在没有在线的流。",
    leftOut: "另有 {count} 个未显示，请直接输入名称。", listFailed: "无法读取列表：{text}",
    name: "流", namePlaceholder: "app/stream", play: "播放", stop: "停止", way: "方式", automatic: "自动",
    badName: "流的名称形如 app/stream。",
    readers: "{count} 人观看", alive: "已 {time}",
    idle: "请选择一个流，或输入名称。",
    waiting: "正在等待流 {name} …", playing: "正在播放 {name}", stopped: "已停止。",
    ended: "流已结束。", blocked: "浏览器要求点击画面上的播放按钮。",
    byHand: "{way}（手动选择）：{why}", byItself: "{way}：{why}",
    failedNext: "{way} 失败（{text}），改用 {next}。", failed: "{way} 失败：{text}",
    withoutSound: "此处无法播放声音，继续只播放画面。",
    nothingPlays: "此浏览器无法播放该流。{reasons}",
    "ll-hls": "低延迟 HLS（fMP4）", flv: "HTTP-FLV", "hls-ts": "HLS（MPEG-TS）", "native-hls": "浏览器自带 HLS",
    "ws-flv": "WebSocket-FLV", ts: "HTTP-TS", mp4: "浏览器自带 HTTP-fMP4",
    noSchema: "该流没有 {schema}", noNative: "浏览器自身不能播放 {type}",
    noMse: "浏览器不支持媒体源扩展（MSE）", noDecoder: "浏览器不能以此方式解码 {codec}",
    notCarried: "此方式不支持 {codec}", pictureOnly: "浏览器可播放 {codecs}，但不能播放声音（{codec}）",
    allPlays: "该流支持，浏览器可播放 {codecs}", unknownStream: "尚不了解该流，先尝试此方式",
    noPicture: "有数据但没有画面",
    missing: "没有这个流，也没有在限定时间内打开", refused: "服务器拒绝：{text}",
    unreachable: "无法连接服务器", lost: "连接中断", media: "浏览器无法播放：{text}",
    latency: "延迟", firstPicture: "首帧", resolution: "分辨率", codec: "编码", frames: "帧", bitrate: "码率",
    decodedDropped: "已解码 {decoded}，丢弃 {dropped}", ms: "{value} 毫秒", kbps: "{value} kbit/s",
    latencyBuffer: "测量：从当前画面到浏览器已接收数据末尾的时长。不含网络、服务器和摄像头的时间，FLV 和 TS 不提供。",
    latencyEdge: "测量：当前画面距直播边缘的时长，依据播放列表及其时效（hls.js）。",
    latencyClock: "测量：本机时钟减去服务器写在画面旁的时间（PROGRAM-DATE-TIME），准确度取决于两边的时钟；距直播边缘：{edge} 毫秒。",
    latencyNative: "测量：从当前画面到可播放内容末尾的时长。浏览器不提供更多信息。",
    firstPictureTip: "从点击到屏幕上出现第一帧画面。",
    bitrateTip: "最近几秒接收的媒体数据。", framesTip: "由浏览器统计。",
    unknown: "–", listNote: "每 3 秒刷新。", apiPage: "API",
    apiTitle: "Tidegate API", apiPlayer: "播放器", apiFilter: "查找",
    apiSecretNote: "只保存在本页面中，随请求头发送。已在播放器页面登录时不需要。",
    apiLines: "每行一个 key=value", apiDefault: "默认 {value}", apiRequired: "必填", apiMore: "另有 {count} 个参数",
    apiMethod: "方法", apiSend: "发送", apiReply: "回复", apiWaiting: "正在等待回复 …",
    apiAnswered: "状态 {status}，用时 {ms} 毫秒", apiFailed: "没有回复：{text}",
    apiBytes: "{count} 字节，类型 {kind}", apiCut: "… 另有 {count} 个字符",
  },
};

/** The language of the page. */
export const LANGUAGE = navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";

/** A text with `{name}`s filled in. */
export function say(key, values = {}) {
  return (WORDS[LANGUAGE][key] ?? key).replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));
}

/** Puts the texts into a page: `data-text`, `data-placeholder`, `data-tip`, and blocks of one language. */
export function translate(root) {
  root.documentElement.lang = LANGUAGE === "zh" ? "zh-CN" : "en";
  for (const element of root.querySelectorAll("[data-text]")) element.textContent = say(element.dataset.text);
  for (const element of root.querySelectorAll("[data-placeholder]")) element.placeholder = say(element.dataset.placeholder);
  for (const element of root.querySelectorAll("[data-tip]")) element.title = say(element.dataset.tip);
  for (const element of root.querySelectorAll("[data-lang]")) element.hidden = element.dataset.lang !== LANGUAGE;
}

/** Keys that one language has and the other has not; for tests. */
export function untranslated() {
  const [en, zh] = [Object.keys(WORDS.en), Object.keys(WORDS.zh)];
  return [...en.filter((key) => !zh.includes(key)), ...zh.filter((key) => !en.includes(key))];
}
