//! The whole story of two people with two devices each, over REST and socket together: what every device is told and
//! what is stored, step by step; then the server starts again and all of it is found again.

mod call;
mod people;
mod thread;

use people::Story;

use crate::harness::db::on_both;

on_both! {
    async fn two_people_two_devices_each(db: TestDb) {
        let mut story = Story::begin(db).await;
        story.sign_in().await;
        story.open_a_thread().await;
        story.chat().await;
        story.ring().await;
        story.answer_on_one_device().await;
        story.attach_during_the_call().await;
        story.lose_the_connection().await;
        story.look_at_the_records().await;
        story.compare_with_what_is_stored().await;
        story.restart().await;
        story.go_on_after_the_restart().await;
        story.compare_with_what_is_stored().await;
    }
}
