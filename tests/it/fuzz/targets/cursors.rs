//! Cursors of pages.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Serialize, de::DeserializeOwned};
use switchboard::domain::{
    codes::Code,
    query::{decode_cursor, encode_cursor},
};

/// The input as a cursor, and as what stands inside one.
pub fn read(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    let inside = URL_SAFE_NO_PAD.encode(data);
    [&*text, &inside].into_iter().fold(false, |accepted, cursor| {
        // The keys of the lists that there are, and of one by name.
        accepted | tried::<(i64, i64)>(cursor) | tried::<i64>(cursor) | tried::<(String, u32)>(cursor)
    })
}

/// A cursor leads where it was made, to the same place, and nowhere else.
fn tried<K: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(cursor: &str) -> bool {
    let mut accepted = false;
    for list in ["messages", "workboxes"] {
        match decode_cursor::<K>(list, Some(cursor)) {
            Ok(None) => assert!(cursor.is_empty()),
            Ok(Some(key)) => {
                let again = encode_cursor(list, &key);
                assert_eq!(decode_cursor::<K>(list, Some(&again)).expect("ours"), Some(key));
                assert!(decode_cursor::<K>("another", Some(cursor)).is_err());
                accepted = true;
            }
            Err(error) => assert_eq!(error.code(), Code::ParametersInvalid),
        }
    }
    accepted
}
