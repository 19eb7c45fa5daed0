//! Configurations of other servers: they write each frame at once where they can, log nothing while they serve, and run on one core.
//! From their public documentation.

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::{Ports, Product};

/// Writes what a server needs into its folder, and gives its arguments.
pub fn write(peer: Product, ports: Ports, program: &Path, folder: &Path) -> Result<Vec<String>> {
    let (name, text) = match peer {
        Product::NginxRtmp => ("nginx.conf", nginx(ports, &nginx_module(program)?)),
        Product::Xiu => ("xiu.toml", xiu(ports)),
        Product::Zlm => ("config.ini", zlm(ports)),
        Product::Srs => ("srs.conf", srs(ports)),
        Product::MediaMtx => ("mediamtx.yml", mediamtx(ports)),
        Product::Floor | Product::Tidegate => bail!("it has a start of its own"),
    };
    let file = folder.join(name);
    std::fs::write(&file, text).with_context(|| format!("write {}", file.display()))?;
    let file = file
        .to_str()
        .context("a folder whose name is no text")?
        .to_owned();
    let folder = folder
        .to_str()
        .context("a folder whose name is no text")?
        .to_owned();
    let arguments = |arguments: &[&str]| arguments.iter().map(|&argument| argument.to_owned()).collect();
    Ok(match peer {
        Product::NginxRtmp => arguments(&["-p", &folder, "-e", "stderr", "-c", &file]),
        // Level 4 is errors alone; one thread for events.
        Product::Zlm => arguments(&["-c", &file, "-l", "4", "-t", "1"]),
        Product::MediaMtx => arguments(&[&file]),
        _ => arguments(&["-c", &file]),
    })
}

/// The module in the folder tree of Debian's packages, wherever it was unpacked.
fn nginx_module(program: &Path) -> Result<String> {
    const MODULE: &str = "lib/nginx/modules/ngx_rtmp_module.so";
    let beside = program.ancestors().nth(2).map(|usr| usr.join(MODULE));
    let found = [beside, Some(Path::new("/usr").join(MODULE))]
        .into_iter()
        .flatten()
        .find(|file| file.is_file());
    let found = found.with_context(|| format!("no RTMP module ({MODULE}) beside {}", program.display()))?;
    Ok(found
        .to_str()
        .context("a folder whose name is no text")?
        .to_owned())
}

fn nginx(ports: Ports, module: &str) -> String {
    let Ports { rtmp, .. } = ports;
    format!(
        "load_module {module};
daemon off;
master_process off;
pid nginx.pid;
error_log stderr error;
events {{
    worker_connections 20000;
}}
rtmp {{
    access_log off;
    chunk_size 65536;
    server {{
        listen 127.0.0.1:{rtmp};
        application live {{
            live on;
            wait_key on;
        }}
    }}
}}
"
    )
}

fn xiu(ports: Ports) -> String {
    // It has no RTSP for streams that come over RTMP; its API would listen on a port of its own choice.
    let Ports {
        rtmp,
        rtsp: api,
        http,
    } = ports;
    format!(
        "[rtmp]
enabled = true
port = {rtmp}
gop_num = 1
[httpflv]
enabled = true
port = {http}
[httpapi]
port = {api}
[authsecret]
key = \"unused\"
password = \"unused\"
[log]
level = \"error\"
"
    )
}

fn zlm(ports: Ports) -> String {
    let Ports { rtmp, rtsp, http } = ports;
    format!(
        "[api]
secret=an-unguessable-secret-of-32-chars
[general]
mergeWriteMS=0
enable_ffmpeg_log=0
[protocol]
add_mute_audio=0
enable_mp4=0
[hook]
enable=0
[http]
port={http}
sslport=0
[rtmp]
port={rtmp}
sslport=0
[rtsp]
port={rtsp}
sslport=0
lowLatency=1
[rtc]
port=0
tcpPort=0
[rtp_proxy]
port=0
[srt]
port=0
[shell]
port=0
"
    )
}

fn srs(ports: Ports) -> String {
    let Ports { rtmp, http, .. } = ports;
    format!(
        "listen 127.0.0.1:{rtmp};
max_connections 20000;
daemon off;
srs_log_tank console;
srs_log_level error;
pid ./srs.pid;
http_server {{
    enabled on;
    listen 127.0.0.1:{http};
    dir ./html;
}}
vhost __defaultVhost__ {{
    tcp_nodelay on;
    min_latency on;
    play {{
        gop_cache on;
        mw_latency 0;
    }}
    publish {{
        mr off;
    }}
    http_remux {{
        enabled on;
        mount [vhost]/[app]/[stream].flv;
    }}
}}
"
    )
}

fn mediamtx(ports: Ports) -> String {
    let Ports { rtmp, rtsp, .. } = ports;
    format!(
        "logLevel: error
rtsp: yes
rtspTransports: [tcp]
rtspAddress: 127.0.0.1:{rtsp}
rtmp: yes
rtmpAddress: 127.0.0.1:{rtmp}
hls: no
webrtc: no
srt: no
paths:
  all_others:
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_peer_gets_its_ports() {
        let ports = Ports {
            rtmp: 40_001,
            rtsp: 40_002,
            http: 40_003,
        };
        for (text, expected) in [
            (nginx(ports, "m.so"), vec!["40001"]),
            (xiu(ports), vec!["40001", "40002", "40003"]),
            (zlm(ports), vec!["40001", "40002", "40003"]),
            (srs(ports), vec!["40001", "40003"]),
            (mediamtx(ports), vec!["40001", "40002"]),
        ] {
            for port in expected {
                assert_eq!(text.matches(port).count(), 1, "{port} in\n{text}");
            }
        }
    }
}
