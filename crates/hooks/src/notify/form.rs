//! Events in the form that the store has for them.

use crate::event::{EventName, Outgoing};
use crate::failure::Failure;
use crate::store::{Dead, Event};
use std::time::Duration;

/// An event for the store.
pub(super) fn to_store(seq: u64, lane: String, outgoing: &Outgoing, lifetime: Duration) -> Event {
    let text = |header: &hyper::header::HeaderValue| header.to_str().unwrap_or_default().to_owned();
    let lifetime = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
    Event {
        seq,
        created_unix_ms: outgoing.born_unix_ms,
        expires_unix_ms: outgoing.born_unix_ms.saturating_add(lifetime),
        record: is_record(outgoing.name),
        id: outgoing.id().to_owned(),
        event: outgoing.name.as_str().to_owned(),
        lane,
        vhost: outgoing.vhost.as_ref().map(text).unwrap_or_default(),
        trace: outgoing.trace,
        body: outgoing.body.clone(),
    }
}

/// An event from the store; `None` if this version does not know it.
pub(super) fn from_store(event: &Event) -> Option<Outgoing> {
    Outgoing::restored(
        EventName::parse(&event.event)?,
        &event.id,
        event.trace,
        &event.vhost,
        event.created_unix_ms,
        event.body.clone(),
    )
}

/// A dead letter.
pub(super) fn to_dead(event: Event, attempts: u32, failure: &Failure, now_unix_ms: u64) -> Dead {
    Dead {
        event,
        failed_unix_ms: now_unix_ms,
        attempts,
        class: failure.class.name().to_owned(),
        status: failure.status.unwrap_or(0),
        detail: failure.detail.clone(),
    }
}

fn is_record(name: EventName) -> bool {
    use crate::hook::Hook;
    use crate::own::OwnEvent;
    matches!(
        name,
        EventName::Zlm(Hook::RecordMp4 | Hook::RecordTs) | EventName::Own(OwnEvent::RecordingSegment)
    )
}
