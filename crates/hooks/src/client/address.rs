//! Which addresses receivers may have. What is judged is the address that is about to be connected to, not the name: a name can
//! lead elsewhere the next time it is asked for.

use config::{AddressKind, IpRanges};
use std::net::IpAddr;

/// Who named a URL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum UrlSource {
    /// The operator, in the configuration.
    #[default]
    Operator,
    /// A client of the API.
    Api,
}

/// Where receivers may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressRules {
    /// `hook.api_url_private`: URLs of the API may lead to addresses that are not public.
    pub api_private: bool,
    /// `hook.api_url_allow`: addresses that URLs of the API may lead to in any case.
    pub api_allow: IpRanges,
}

impl Default for AddressRules {
    /// Management systems add receivers on private addresses and on this machine.
    fn default() -> Self {
        Self {
            api_private: true,
            api_allow: IpRanges::default(),
        }
    }
}

/// The address may not be connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Link-local, or a metadata service.
    #[error("{address} is {}, which is never connected to", kind.describe())]
    Never {
        /// The address.
        address: IpAddr,
        /// What it is.
        kind: AddressKind,
    },
    /// Not for URLs of the API.
    #[error(
        "{address} is {}, where receivers added over the API may not be: hook.api_url_private is 0, and hook.api_url_allow \
         does not name it", kind.describe()
    )]
    NotForApi {
        /// The address.
        address: IpAddr,
        /// What it is.
        kind: AddressKind,
    },
}

impl AddressRules {
    /// Whether a URL of this source may lead to an address.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn check(&self, source: UrlSource, address: IpAddr) -> Result<(), Refused> {
        let kind = AddressKind::of(address);
        // For the operator's URLs, too: what is set over setServerConfig is the operator's after a restart.
        if kind.is_never_meant() {
            return Err(Refused::Never { address, kind });
        }
        let allowed = match source {
            UrlSource::Operator => true,
            UrlSource::Api => {
                self.api_private || kind == AddressKind::Public || self.api_allow.lists(address)
            }
        };
        if allowed {
            Ok(())
        } else {
            Err(Refused::NotForApi { address, kind })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_is_never_allowed_and_the_rest_by_key() {
        let mut rules = AddressRules::default();
        let check =
            |rules: &AddressRules, source, address: &str| rules.check(source, address.parse().unwrap());
        let everywhere = [
            "169.254.169.254",
            "fe80::1",
            "::ffff:169.254.169.254",
            "fd00:ec2::254",
        ];
        let inside = [
            "127.0.0.1",
            "::1",
            "10.0.0.1",
            "100.64.0.1",
            "224.0.0.1",
            "192.0.2.1",
            "0.0.0.0",
            "::ffff:192.168.0.1",
        ];
        for source in [UrlSource::Operator, UrlSource::Api] {
            for address in everywhere {
                assert!(check(&rules, source, address).is_err(), "{source:?} {address}");
            }
            for address in inside {
                assert_eq!(check(&rules, source, address), Ok(()), "{source:?} {address}");
            }
        }
        rules.api_private = false;
        let mut config = config::Config::default();
        let allow = [(
            "hook.api_url_allow".to_owned(),
            "10.0.0.0/8,169.254.0.0/16".to_owned(),
        )];
        config = config.set(&allow).config;
        rules.api_allow = config.hook.api_url_allow.clone();
        for address in inside {
            assert_eq!(check(&rules, UrlSource::Operator, address), Ok(()), "{address}");
            let listed = address == "10.0.0.1";
            assert_eq!(
                check(&rules, UrlSource::Api, address).is_ok(),
                listed,
                "{address}"
            );
        }
        assert_eq!(check(&rules, UrlSource::Api, "8.8.8.8"), Ok(()));
        assert!(check(&rules, UrlSource::Api, "169.254.169.254").is_err());
        let text = check(&rules, UrlSource::Api, "::1").unwrap_err().to_string();
        assert!(
            text.contains("an address of this machine") && text.contains("hook.api_url_allow"),
            "{text}"
        );
    }
}
