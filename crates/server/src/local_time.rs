//! The local time of the system, for names of files that people look for by the clock on their wall.

use hls::record::LocalTime;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::time::Duration;

/// The local time of a moment, which is given as time since 1970: in the zone of `TZ` or of the system, or in UTC if neither is known.
pub fn local(unix: Duration) -> LocalTime {
    in_zone(unix, TimeZone::try_system().unwrap_or(TimeZone::UTC))
}

fn in_zone(unix: Duration, zone: TimeZone) -> LocalTime {
    let seconds = i64::try_from(unix.as_secs()).unwrap_or(i64::MAX);
    // Beyond the year 9999 there is no such moment, and a clock that says so is wrong in any case.
    let moment = Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
    let time = moment.to_zoned_datetime(zone);
    // Each of these is in its range, which a calendar date after 1970 guarantees.
    let small = |number: i8| u8::try_from(number).unwrap_or(0);
    LocalTime {
        year: u16::try_from(time.year()).unwrap_or(0),
        month: small(time.month()),
        day: small(time.day()),
        hour: small(time.hour()),
        minute: small(time.minute()),
        second: small(time.second()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::offset;

    fn name(unix: u64, hours: i8) -> String {
        let zone = offset(hours).to_time_zone();
        let time = in_zone(Duration::from_millis(unix * 1000 + 999), zone);
        hls::record::FilePath::segment(time, 0, ".ts").to_string()
    }

    #[test]
    fn files_are_called_by_the_local_clock() {
        // What the reference called a segment that began then, at UTC.
        assert_eq!(name(1_795_351_986, 0), "2026-11-22/12/53-06_0.ts");
        assert_eq!(name(1_795_351_986, 8), "2026-11-22/20/53-06_0.ts");
        assert_eq!(name(1_795_351_986, -13), "2026-11-21/23/53-06_0.ts");
        // The second before a new hour and a new year, and the one after.
        assert_eq!(name(1_798_761_599, 0), "2026-12-31/23/59-59_0.ts");
        assert_eq!(name(1_798_761_600, 0), "2027-01-01/00/00-00_0.ts");
        assert_eq!(name(u64::MAX / 2000, 0), "1970-01-01/00/00-00_0.ts");
    }
}
