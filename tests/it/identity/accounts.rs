//! SECURITY 1, 6, 12: accounts within the walls of their organisation.

use std::time::Duration;

use serde_json::json;
use switchboard::{
    domain::{
        codes::Code,
        ids::{GroupId, PersonId},
        once::Once,
        query::ListQuery,
    },
    service::{
        people::{Device, NewUser, OwnChange, UserChange},
        person_views::{Status, UserView, status, status_of},
        tokens::Revoked,
    },
    store::{people, sql},
};

use super::{HOME, PASSWORD, World, code, secret};
use crate::harness::db::on_both;

fn new_user(name: &str, email: &str) -> NewUser {
    NewUser { name: name.to_owned(), email: email.to_owned(), ..NewUser::default() }
}

on_both! {
    async fn making_inviting_and_the_event(db: TestDb) {
        let world = World::new(db).await;
        let ada = world.ada().await;
        let new = NewUser {
            title: Some("Fitter".to_owned()),
            phone: Some("+1 415 555 2671".to_owned()),
            invite: true,
            ..new_user("Cleo", "Cleo@Example.org")
        };
        let id = world.people.create(&ada, new, &Once::none()).await.unwrap();
        let row = world.row(id).await;
        assert_eq!(row.phone.as_deref(), Some("+14155552671"));
        assert_eq!((row.role.as_str(), row.confirmed_at, row.invitation_sent_at.is_some()), ("User", None, true));
        assert_eq!(status_of(&row, world.clock.now(), false), status::INVITED);
        let (kind, recipient, html): (String, String, String) =
            sql("select kind, recipient, body_html from notice").one(&world.db.db).await.unwrap();
        assert_eq!((kind.as_str(), recipient.as_str()), ("user_invitation", "Cleo@Example.org"));
        assert!(html.contains("Cleo"));
        let events = world.events(ada.organization).await;
        let (kind, data) = events.last().unwrap();
        assert_eq!((kind.as_str(), &data["name"], &data["id"]), ("user.created", &json!("Cleo"), &json!(id)));
        assert!(data.get("token").is_none() && data.get("avatar").is_none());
        // The account's stream exists.
        assert_eq!(world.count("select count(*) from stream s join person p on p.stream_id = s.id where p.name = 'Cleo'").await, 1);
    }

    async fn addresses_are_unique_whatever_their_case(db: TestDb) {
        let world = World::new(db).await;
        let ada = world.ada().await;
        let once = Once::none();
        let create = |email: &str| world.people.create(&ada, new_user("X", email), &once);
        assert_eq!(code(create("BOB@acme.test").await), Code::EmailTaken);
        // Also when two arrive at once.
        let both = tokio::join!(create("twin@acme.test"), create("Twin@acme.test"));
        assert!(both.0.is_ok() != both.1.is_ok());
        // Other organisations share the name space, and learn nothing else of it.
        let otto = world.otto().await;
        assert_eq!(code(world.people.create(&otto, new_user("X", "bob@acme.test"), &Once::none()).await), Code::EmailTaken);
        assert_eq!(code(create("not an address@").await), Code::InvalidEmail);
        let bob = world.caller("bob@acme.test").await;
        let change = OwnChange { email: Some("ADA@acme.test".to_owned()), ..OwnChange::default() };
        assert_eq!(code(world.people.change_own(&bob, change).await), Code::EmailTaken);
        world.people.remove(&ada, world.bob).await.unwrap();
        create("bob@acme.test").await.unwrap();
    }

    async fn bad_values_are_named(db: TestDb) {
        let world = World::new(db).await;
        let ada = world.ada().await;
        let once = Once::none();
        let create = |new: NewUser| world.people.create(&ada, new, &once);
        let base = || new_user("X", "x@example.org");
        assert_eq!(code(create(NewUser { phone: Some("12345".to_owned()), ..base() }).await), Code::InvalidNumber);
        assert_eq!(code(create(NewUser { role: Some("King".to_owned()), ..base() }).await), Code::ParametersInvalid);
        assert_eq!(code(create(NewUser { license: Some("gold".to_owned()), ..base() }).await), Code::ParametersInvalid);
        assert_eq!(code(create(NewUser { name: "<b>".to_owned(), ..base() }).await), Code::InvalidName);
        assert_eq!(code(create(NewUser { pod_ids: vec![GroupId(5)], ..base() }).await), Code::ParametersInvalid);
        // A password only where the address lies in an approved domain.
        let with_password = NewUser { password: Some(secret(PASSWORD)), ..base() };
        assert_eq!(code(create(with_password).await), Code::InvalidPassword);
        assert_eq!(world.count("select count(*) from person where email_key = 'x@example.org'").await, 0);
    }

    async fn rights_are_needed_and_never_exceeded(db: TestDb) {
        let world = World::new(db).await;
        let bob = world.caller("bob@acme.test").await;
        let token = world.tokens.mint_enterprise_for(&bob).await.unwrap();
        let bob = world.enterprise(&token).await.unwrap();
        assert_eq!(code(world.people.create(&bob, new_user("X", "x@x.org"), &Once::none()).await), Code::Authorization);
        assert_eq!(code(world.people.remove(&bob, world.acme.admin.id).await), Code::Authorization);
        // Somebody who may manage users, and no more, makes no administrators and touches none.
        let mut clerk = world.ada().await;
        clerk.permissions = switchboard::domain::permission::Permissions::MEMBER
            | switchboard::domain::permission::Permissions::MANAGE_USERS;
        let king = NewUser { role: Some("SiteAdmin".to_owned()), ..new_user("X", "x@x.org") };
        assert_eq!(code(world.people.create(&clerk, king, &Once::none()).await), Code::Authorization);
        let change = UserChange { active: Some(false), ..UserChange::default() };
        assert_eq!(code(world.people.change(&clerk, world.acme.admin.id, change).await), Code::Authorization);
        let change = UserChange { role: Some("EnterpriseAdmin".to_owned()), ..UserChange::default() };
        assert_eq!(code(world.people.change(&clerk, world.bob, change).await), Code::Authorization);
        world.people.create(&clerk, new_user("Y", "y@x.org"), &Once::none()).await.unwrap();
    }

    async fn another_organisations_people_are_not_there(db: TestDb) {
        let world = World::new(db).await;
        let otto = world.otto().await;
        let change = UserChange { name: Some("Hacked".to_owned()), ..UserChange::default() };
        assert_eq!(code(world.people.change(&otto, world.bob, change).await), Code::NotFound);
        assert_eq!(code(world.people.remove(&otto, world.bob).await), Code::NotFound);
        let list = ListQuery::default().parse(people::FIELDS).unwrap();
        let scope = people::Scope { inactive: true, ..people::Scope::default() };
        let (rows, total) = people::list(&world.db.db, otto.organization, &scope, &list).await.unwrap();
        assert_eq!((rows.len(), total, rows[0].id), (1, 1, world.other.admin.id));
        let scope = people::Scope { term: Some("bob".to_owned()), ..people::Scope::default() };
        assert!(people::find(&world.db.db, Some(otto.organization), &scope, 10).await.unwrap().is_empty());
    }

    async fn whoever_goes_is_out_at_once(db: TestDb) {
        let world = World::new(db).await;
        let ada = world.ada().await;
        let pair = world.enter("bob@acme.test").await;
        let bob = world.user(&pair.token).await.unwrap();
        let made = world.access_tokens.create(&bob, "x", &Once::none()).await.unwrap();
        let off = UserChange { active: Some(false), ..UserChange::default() };
        world.ended.take();
        world.people.change(&ada, world.bob, off).await.unwrap();
        assert_eq!(world.ended.take(), [Revoked::Person(world.bob)]);
        assert_eq!(code(world.user(&pair.token).await), Code::AccountDeactivated);
        assert_eq!(code(world.sign_in.password("bob@acme.test", &secret(PASSWORD), HOME).await), Code::AccountDeactivated);
        let on = UserChange { active: Some(true), ..UserChange::default() };
        world.people.change(&ada, world.bob, on).await.unwrap();
        assert_eq!(code(world.user(&pair.token).await), Code::InvalidToken);
        let pair = world.enter("bob@acme.test").await;
        world.ended.take();
        world.people.remove(&ada, world.bob).await.unwrap();
        assert_eq!(world.ended.take(), [Revoked::Person(world.bob)]);
        for token in [&pair.token, &made.text] {
            assert_eq!(code(world.tokens.verify_connection(token).await), Code::InvalidToken);
        }
        assert_eq!(code(world.sign_in.refresh(&secret(&pair.refresh)).await), Code::InvalidToken);
        assert_eq!(code(world.sign_in.access_token(&secret(&made.text), HOME).await), Code::Authentication);
        let row = world.row(world.bob).await;
        assert_eq!((row.name.as_str(), row.email, row.active), ("Deleted User", None, false));
        let kinds: Vec<_> = world.events(ada.organization).await.into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(kinds.last().unwrap(), "user.deleted");
        assert_eq!(code(world.people.remove(&ada, world.bob).await), Code::NotFound);
    }

    async fn an_organisation_keeps_an_administrator(db: TestDb) {
        let world = World::new(db).await;
        let ada = world.ada().await;
        let me = ada.person.unwrap();
        assert_eq!(code(world.people.remove(&ada, me).await), Code::Constraint);
        let change = UserChange { role: Some("User".to_owned()), ..UserChange::default() };
        assert_eq!(code(world.people.change(&ada, me, change.clone()).await), Code::Constraint);
        let second = NewUser { role: Some("EnterpriseAdmin".to_owned()), ..new_user("Zoe", "zoe@x.org") };
        world.people.create(&ada, second, &Once::none()).await.unwrap();
        world.people.change(&ada, me, change).await.unwrap();
    }

    async fn groups_are_replaced(db: TestDb) {
        let world = World::new(db).await;
        let ada = world.ada().await;
        for (id, organization) in [(1, ada.organization), (2, ada.organization), (3, world.other.organization.id)] {
            sql("insert into people_group (id, organization_id, kind, name, name_key, description, is_default, expert, \
                 settings, created_at, updated_at) values ($1, $2, 'pod', $3, $3, '', false, false, '{}', 0, 0)")
                .bind(id).bind(organization).bind(format!("pod{id}")).execute(&world.db.db).await.unwrap();
        }
        let change = |pods: Vec<i64>| UserChange { pod_ids: Some(pods.into_iter().map(GroupId).collect()), ..UserChange::default() };
        world.people.change(&ada, world.bob, change(vec![1, 2])).await.unwrap();
        world.people.change(&ada, world.bob, change(vec![2])).await.unwrap();
        let groups = people::groups_of(&world.db.db, [world.bob]).await.unwrap();
        assert_eq!(groups.iter().map(|group| group.id.0).collect::<Vec<_>>(), [2]);
        assert_eq!(code(world.people.change(&ada, world.bob, change(vec![3])).await), Code::ParametersInvalid);
        let view = UserView::new(&world.row(world.bob).await, world.clock.now(), false).with_places(&groups, &[]);
        assert_eq!(view.pods.len(), 1);
    }

    async fn unavailability_ends_by_itself(db: TestDb) {
        let world = World::new(db).await;
        let bob = world.caller("bob@acme.test").await;
        let once = Once::none();
        let away = |seconds| world.people.set_unavailable(&bob, seconds, Some("lunch"), &once);
        for wrong in [-1, i64::MAX] {
            assert_eq!(code(away(Some(wrong)).await), Code::ParametersInvalid);
        }
        away(Some(60)).await.unwrap();
        let view = |row: &people::PersonRow| UserView::new(row, world.clock.now(), true);
        let row = world.row(world.bob).await;
        assert_eq!((view(&row).available, view(&row).status, view(&row).status_message.as_deref()), (false, Status::Number(104), Some("lunch")));
        world.clock.advance(Duration::from_secs(60));
        assert_eq!((view(&row).available, view(&row).status, view(&row).status_message), (true, Status::Number(100), None));
        away(None).await.unwrap();
        world.people.set_available(&bob).await.unwrap();
        assert!(view(&world.row(world.bob).await).available);
    }

    async fn a_device_belongs_to_the_last_who_registered_it(db: TestDb) {
        let world = World::new(db).await;
        let (ada, bob) = (world.caller("ada@acme.test").await, world.caller("bob@acme.test").await);
        let device = Device { device_id: "d".to_owned(), platform: "web".to_owned(), push_id: "p".to_owned() };
        world.people.register_device(&ada, &device, &Once::none()).await.unwrap();
        world.people.register_device(&bob, &device, &Once::none()).await.unwrap();
        assert_eq!(world.count("select count(*) from device").await, 1);
        assert_eq!(code(world.people.remove_device(&ada, "p").await), Code::UnknownDevice);
        let pager = Device { platform: "pager".to_owned(), ..device };
        assert_eq!(code(world.people.register_device(&bob, &pager, &Once::none()).await), Code::UnknownPlatform);
        world.people.remove_device(&bob, "p").await.unwrap();
    }

    async fn lists_filter_order_and_page(db: TestDb) {
        let world = World::new(db).await;
        for name in ["Cleo", "Dan", "Eve_X"] {
            world.hire(name).await;
        }
        let names = async |filter: &str, order: &str, page, size| {
            let query = ListQuery {
                filter: Some(filter.to_owned()),
                order: Some(order.to_owned()),
                page: Some(page),
                page_size: Some(size),
            };
            let list = query.parse(people::FIELDS).unwrap();
            let scope = people::Scope { inactive: true, ..people::Scope::default() };
            let (rows, total) = people::list(&world.db.db, world.acme.organization.id, &scope, &list).await.unwrap();
            (rows.into_iter().map(|row| row.name).collect::<Vec<_>>(), total)
        };
        assert_eq!(names("email=DAN@acme.test", "", 1, 20).await, (vec!["Dan".to_owned()], 1));
        assert_eq!(names("name~=%e_x", "", 1, 20).await.1, 1);
        assert_eq!(names("name~=%e_%", "", 1, 20).await.1, 1);
        assert_eq!(names("\"name|=Cleo,dan\"", "-name", 1, 20).await.0, ["Dan", "Cleo"]);
        assert_eq!(names("email!=dan@acme.test", "name", 2, 2).await.1, 4);
        assert_eq!(names("updated_at>2020-01-01T00:00:00.000000Z and active=true", "id", 1, 3).await.0.len(), 3);
        assert_eq!(names("", "name", 99, 20).await, (vec![], 5));
        assert_eq!(names("title=x' or '1'='1", "", 1, 20).await.1, 0);
    }

    async fn a_removed_person_can_be_nobodys_id(db: TestDb) {
        let world = World::new(db).await;
        assert_eq!(code(world.people.remove(&world.ada().await, PersonId(i64::MAX)).await), Code::NotFound);
    }
}
