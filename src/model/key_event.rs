//! The events of the log that somebody waits for: each with its `MESSAGE_ID`, and the words that it is logged with.
//!
//! The one table. `journalctl MESSAGE_ID=…` finds one of them over all versions and whatever the words become, and
//! `systemd/hearthlink.catalog` says for each what to do. Invariants: an id is never changed and never used again
//! (sd_journal(3)); the words are constant, and what varies stands in the event's fields. The level stands where it is
//! logged.
//!
//! Rejected: an id for each line of the log. Most of them are of use only beside the others.

macro_rules! key_events {
    ($($(#[doc = $doc:literal])+ $event:ident: $id:literal, $says:literal;)+) => {
        /// An event that somebody waits for. `message_id = KeyEvent::LineUp.id()` is how it is logged.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum KeyEvent {
            $($(#[doc = $doc])+ $event,)+
        }

        impl KeyEvent {
            /// Every one, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$event,)+];

            /// Its `MESSAGE_ID`: 128 random bits in hexadecimal, as the journal wants them.
            pub const fn id(self) -> &'static str {
                match self { $(Self::$event => $id,)+ }
            }

            /// What the log says.
            pub const fn says(self) -> &'static str {
                match self { $(Self::$event => $says,)+ }
            }
        }
    };
}

key_events! {
    /// Everything runs.
    Running: "446adb2ead3540c0978ee3c5b8029d98", "running";
    /// The end that somebody asked for.
    Stopped: "52a01cf579f74746b019a063ba5f987d", "stopped in order";
    /// An end that nobody asked for.
    Ended: "fe11e6287a5c434382ecbdc2fd4cac58", "the gateway ended";
    /// SIGHUP, and all of it was taken.
    Reloaded: "085dce24d184418680f26e5f25192471", "reloaded";
    /// SIGHUP, and nothing of it was taken.
    ReloadRefused: "7d62eb63bff04d83b1e57b606823d78a", "nothing is reloaded: the old certificates stay, and everything else as it was";
    /// The line is up.
    LineUp: "ddc81fbe93234b5ba2ff1c2017243815", "the line to the cloud is up";
    /// The line is down, for a reason that was not logged since it was up.
    LineDown: "547b68f4697d49df80ea5348a746726c", "the line to the cloud is down";
    /// 30, 7 and 1 days before the end of this gateway's certificate for the cloud.
    CertificateExpires: "5baf9db98f0d4c6398ecc12b8b132f81",
        "this gateway's certificate for the cloud expires soon; renew it";
    /// It is over.
    CertificateExpired: "3ef51b5dbe8c4ac2a65610a2e3690e18",
        "this gateway's certificate for the cloud has expired; renew it";
    /// A device can be reached.
    DeviceOnline: "4b77fa9f7b884a86852057c28896866a", "a device is there";
    /// A device cannot be reached.
    DeviceOffline: "601a5de9a8c945318963dcf4216723b8", "a device is gone";
    /// A command was given to its device, and this is how it ended.
    CommandConcluded: "80c60796e07643f8b2b175afd493ee99", "command concluded";
    /// A command was not let in, or came too late.
    CommandRefused: "550d5319dd61420bb64f1b46c7ed01d1", "command refused";
    /// A part does not answer, and whoever watches over the gateway ends it.
    PartStuck: "9cc8dcbb73c24eae8a28471284f889f0",
        "a part of the gateway is stuck; the watchdog ends the gateway unless it turns again";
    /// The store cannot be opened or written.
    StoreFails: "9ab30360ac6d4c9d8df406fddb821c2a",
        "the store fails; home works, and nothing is accepted for the cloud now";
    /// It can be written again.
    StoreWorks: "e7a16188882740f19eb91cafda4a739c", "the store can be written again";
    /// Damage that showed while the gateway runs.
    StoreDamaged: "cb07424393a74955be099847df01f89a", "the store's file is damaged";
    /// A damaged file was put beside at the start.
    StoreSetAside: "15b5ace64f98497aa79e347ad2423a79",
        "the store's file is damaged and was set aside; a new one is begun, what waited for the cloud is not sent";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_id_is_one_that_the_journal_takes_and_is_there_once() {
        for event in KeyEvent::ALL {
            let id = event.id();
            // Of a random UUID: version 4, variant 1.
            let is_random = uuid::Uuid::try_parse(id).is_ok_and(|uuid| uuid.get_version_num() == 4);
            assert!(is_random && id.len() == 32 && id.to_lowercase() == id, "{event:?}: {id}");
        }
        let ids: BTreeSet<&str> = KeyEvent::ALL.iter().map(|event| event.id()).collect();
        let words: BTreeSet<&str> = KeyEvent::ALL.iter().map(|event| event.says()).collect();
        assert_eq!((ids.len(), words.len()), (KeyEvent::ALL.len(), KeyEvent::ALL.len()));
    }
}
