//! The configuration: one table of keys, from which parser, defaults, `getServerConfig`, `setServerConfig`, the sample files
//! and the manual are made.
//!
//! The rest of the program sees typed sections ([`Config`]) and no text. It never changes: [`Config::set`] and a reload make
//! a new one, and the server shares whichever is in force.
//!
//! - [`keys`]: the table, one file per section, each row beside the typed field that it fills. [`key`]: what a row says.
//! - [`mod@file`]: loading a file and writing it back. [`mod@load`]: putting the layers together, on text alone.
//! - `ini`, `toml`: the two languages. `store`: values as text with their origin.
//! - [`source`]: `[[source]]` rules. [`hook_endpoint`]: `[[hook_endpoint]]` tables.
//! - [`protocol_options`]: overriding the options of one stream. [`lenient`]: how ZLM reads text from the network.
//! - [`explain`](mod@explain), [`manual`]: what people read.
//!
//! Names that are case-sensitive, values that are text, keys that are unknown: all that is ZLM's contract (config.md).
//! Refusing wrong values is not; ZLM reads them as 0.

pub mod address;
mod address_kind;
mod config;
pub mod error;
pub mod explain;
pub mod file;
mod fingerprint;
pub mod hook_endpoint;
mod ini;
pub mod key;
pub mod keys;
pub mod lenient;
pub mod load;
pub mod manual;
mod nearest;
pub mod protocol_options;
pub mod secret;
pub mod source;
mod store;
mod toml;

pub use address::{Address, BadRange, IpRanges, PortRange};
pub use address_kind::AddressKind;
pub use config::{ChangedKey, Config, Rejected, SetOutcome};
pub use error::{Error, Errors, Origin, Warning};
pub use explain::explain;
pub use file::{create_default, load, write_back};
pub use fingerprint::Fingerprint;
pub use hook_endpoint::HookEndpoint;
pub use key::{Key, Reload};
pub use keys::{
    Api, Cluster, DuplicatePublish, Ffmpeg, General, Hls, Hook, Http, LogFormat, Metrics, Multicast,
    PlayerPage, Protocol, Proxy, Record, Rtc, Rtmp, Rtp, RtpProxy, Rtsp, RtspTransport, Srt, TsG711,
};
pub use load::{Format, Loaded};
pub use protocol_options::{Applied, HookValue, ProtocolOptions, ProtocolOverrides};
pub use secret::{PUBLISHED_SECRET, Secret};
pub use source::{ResolvedSource, SourceRule, Via};
