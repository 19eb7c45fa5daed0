//! Where receivers may be.

use super::loopback::{ask, assert_failed, listen, settings_for};
use super::script::{Receiver, Reply, play, yes};
use crate::client::dial::{Network, Resolve, Resolving};
use crate::client::{AddressRules, UrlSource};
use crate::failure::Class;
use crate::{Answered, Hook, Hooks, Settings};
use config::{Config, IpRanges};
use lifecycle::Outcome;
use parking_lot::Mutex;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::net::TcpListener;

const OTHER: &str = "[network err]:255(other error)";

/// A name server that is told what to say; it counts the questions.
#[derive(Clone, Default)]
struct Names {
    addresses: Arc<Mutex<Vec<IpAddr>>>,
    asked: Arc<Mutex<usize>>,
}

impl Names {
    fn say(&self, addresses: &[&str]) {
        *self.addresses.lock() = addresses.iter().map(|address| address.parse().unwrap()).collect();
    }
}

impl Resolve for Names {
    fn resolve<'a>(&'a self, _: &'a str, port: u16) -> Resolving<'a> {
        *self.asked.lock() += 1;
        let addresses = self.addresses.lock();
        let addresses = addresses.iter().map(|ip| SocketAddr::new(*ip, port)).collect();
        Box::pin(async move { Ok(addresses) })
    }
}

fn allow(list: &str) -> IpRanges {
    let changes = [("hook.api_url_allow".to_owned(), list.to_owned())];
    let outcome = Config::default().set(&changes);
    assert!(outcome.rejected.is_empty());
    outcome.config.hook.api_url_allow.clone()
}

/// URLs of the API lead to public and the listed addresses only.
fn strict(list: &str) -> AddressRules {
    AddressRules {
        api_private: false,
        api_allow: allow(list),
    }
}

fn settings(url: &str, source: UrlSource, addresses: AddressRules) -> Settings {
    let mut settings = Settings {
        addresses,
        ..settings_for(url)
    };
    settings.set_source(Hook::Play, source);
    settings
}

fn over(settings: Settings, names: &Names) -> Hooks {
    let network = || {
        let names = Box::new(names.clone());
        Box::new(Network::with_resolver(settings.addresses.clone(), names))
    };
    let (decisions, notifications) = (network(), network());
    Hooks::over(settings, "Tidegate(test)", decisions, notifications).0
}

async fn ask_on(hooks: &Hooks) -> Answered {
    hooks.ask(&play(), None).await
}

#[tokio::test]
async fn metadata_services_are_never_asked() {
    for host in [
        "169.254.169.254",
        "[::ffff:169.254.169.254]",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "100.100.100.200",
    ] {
        for source in [UrlSource::Operator, UrlSource::Api] {
            let url = format!("http://{host}/latest/meta-data/");
            let rules = AddressRules {
                api_private: true,
                api_allow: allow("0.0.0.0/0,::/0"),
            };
            let got = ask(settings(&url, source, rules)).await;
            assert_failed(&got, Class::Forbidden, OTHER, "never connected to");
            assert_eq!(got.attempts, 0, "nobody was asked");
        }
    }
}

#[tokio::test]
async fn a_redirect_to_a_metadata_service_is_not_followed() {
    let receiver = Receiver::new(|_| {
        let head = "HTTP/1.1 307 X\r\nLocation: http://169.254.169.254/latest/\r\nContent-Length: 0\r\n\r\n";
        Reply::Send(head.into())
    });
    let address = listen(&receiver, None).await;
    let names = Names::default();
    names.say(&["127.0.0.1"]);
    let url = format!("http://hook.example:{}/", address.port());
    let hooks = over(settings(&url, UrlSource::Api, AddressRules::default()), &names);
    let got = ask_on(&hooks).await;
    assert_failed(&got, Class::Status, "[bad http status code]:307", "307");
    assert_eq!((receiver.received().len(), *names.asked.lock()), (1, 1));
}

#[tokio::test]
async fn a_name_that_changes_to_loopback_after_the_check_is_refused() {
    // Two receivers on one port: a permitted address, and this machine's own.
    let own = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = own.local_addr().unwrap().port();
    let permitted = TcpListener::bind(("127.0.0.2", port)).await.unwrap();
    let receiver = Receiver::new(|_| {
        Reply::Close(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 10\r\n\r\n{\"code\":0}".to_vec(),
        )
    });
    tokio::spawn({
        let receiver = receiver.clone();
        async move {
            loop {
                let (tcp, _) = permitted.accept().await.unwrap();
                tokio::spawn(receiver.clone().serve(tcp));
            }
        }
    });
    let names = Names::default();
    let url = format!("http://hook.example:{port}/");
    let hooks = over(settings(&url, UrlSource::Api, strict("127.0.0.2/32")), &names);
    names.say(&["127.0.0.2"]);
    assert_eq!(ask_on(&hooks).await.outcome, Outcome::Play(Ok(())));
    for changed in ["127.0.0.1", "::ffff:127.0.0.1", "169.254.169.254", "0.0.0.0"] {
        names.say(&[changed]);
        let got = ask_on(&hooks).await;
        assert_failed(&got, Class::Forbidden, OTHER, changed);
    }
    // Of several addresses, the permitted ones are tried.
    names.say(&["127.0.0.1", "127.0.0.2"]);
    assert_eq!(ask_on(&hooks).await.outcome, Outcome::Play(Ok(())));
    assert_eq!((receiver.connections(), *names.asked.lock()), (2, 6));
    let knocked = futures_util::FutureExt::now_or_never(own.accept());
    assert!(knocked.is_none(), "nobody came to the other one");
}

#[tokio::test]
async fn by_default_the_api_may_name_this_machine() {
    let receiver = Receiver::new(|_| yes());
    let address = listen(&receiver, None).await;
    let url = format!("http://{address}/");
    let got = ask(settings(&url, UrlSource::Api, AddressRules::default())).await;
    assert_eq!(got.outcome, Outcome::Play(Ok(())), "{got:?}");
    let got = ask(settings(&url, UrlSource::Api, strict(""))).await;
    assert_failed(&got, Class::Forbidden, OTHER, "hook.api_url_private is 0");
    let got = ask(settings(&url, UrlSource::Operator, strict(""))).await;
    assert_eq!(got.outcome, Outcome::Play(Ok(())), "{got:?}");
}

#[tokio::test]
async fn stricter_rules_hold_for_connections_that_are_kept() {
    let receiver = Receiver::new(|_| yes());
    let address = listen(&receiver, None).await;
    let url = format!("http://{address}/");
    let open = settings(&url, UrlSource::Api, AddressRules::default());
    let (hooks, _driver) = Hooks::new(open, "Tidegate(test)");
    assert_eq!(ask_on(&hooks).await.outcome, Outcome::Play(Ok(())));
    hooks.apply(settings(&url, UrlSource::Api, strict("10.0.0.0/8")));
    assert_eq!(ask_on(&hooks).await.class(), Some(Class::Forbidden));
}
