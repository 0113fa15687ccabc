//! Custom fields: definitions, values, and what must be filled when.

use serde_json::{Value, json};
use switchboard::{
    domain::{
        codes::Code,
        custom_field::{Kind, Mandatory},
        ids::CustomFieldId,
        once::Once,
    },
    service::workboxes::{FieldDraft, FieldInput, NewWorkbox},
};

use super::world::{ADA, ANN, OTTO, World, code};
use crate::harness::db::on_both;

fn field(name: &str, kind: Kind, mandatory: Mandatory) -> FieldDraft {
    FieldDraft {
        name: Some(name.to_owned()),
        kind: Some(kind),
        mandatory: Some(mandatory),
        ..FieldDraft::default()
    }
}

fn set(id: CustomFieldId, value: impl Into<Value>) -> FieldInput {
    FieldInput { id, value: value.into() }
}

on_both! {
    async fn fields_are_defined_filled_and_asked_for(db: TestDb) {
        let world = World::new(&db).await;
        let (ann, ada, otto) = (world.user(ANN).await, world.user(ADA).await, world.user(OTTO).await);
        let w = &world.workboxes;
        let none = Once::none();
        let colour = FieldDraft {
            options: Some(vec![(None, "red".into()), (None, "green".into())]),
            multi_select: Some(true),
            ..field("Colour", Kind::List, Mandatory::MandatoryOnCreation)
        };
        assert_eq!(code(w.define_field(&ann, field("x", Kind::Text, Mandatory::Optional), &none).await), Code::Authorization);
        let colour = w.define_field(&ada, colour, &none).await.unwrap();
        let done = w.define_field(&ada, field("Result", Kind::Text, Mandatory::MandatoryOnClose), &none).await.unwrap();
        let flag = FieldDraft { default: Some(json!(true)), ..field("Urgent", Kind::Boolean, Mandatory::MandatoryOnCreation) };
        let flag = w.define_field(&ada, flag, &none).await.unwrap();

        let bare = w.create(&ann, NewWorkbox::default(), &none).await;
        assert!(bare.as_ref().is_err_and(|error| error.message().contains("Colour") && !error.message().contains("Urgent")));
        let new = |value: Value| NewWorkbox { fields: vec![set(colour.id, value)], ..NewWorkbox::default() };
        assert_eq!(code(w.create(&ann, new(json!([9])), &none).await), Code::ParametersInvalid);
        let view = w.create(&ann, new(json!(["2", 1])), &none).await.unwrap();
        assert_eq!(view.fields.len(), 2);
        assert_eq!((&view.fields[0].value, view.fields[0].text.as_str()), (&json!([2, 1]), "green, red"));
        assert_eq!(view.fields[1].value, json!(true), "the default");
        let names: Vec<_> = view.field_definitions.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names, ["Urgent", "Result", "Colour"], "last first");

        let id = view.id;
        assert_eq!(code(w.close(&ann, id, &none).await), Code::Constraint);
        assert_eq!(code(w.set_fields(&ann, id, &[set(colour.id, json!([]))]).await), Code::Constraint);
        assert_eq!(code(w.set_fields(&ann, id, &[set(CustomFieldId(77), json!("x"))]).await), Code::ParametersInvalid);
        assert_eq!(code(w.set_fields(&ann, id, &[set(flag.id, json!("maybe"))]).await), Code::ParametersInvalid);
        let view = w.set_fields(&ann, id, &[set(done.id, "sealed"), set(flag.id, false)]).await.unwrap();
        assert_eq!(view.fields.len(), 3);
        let (kind, told) = world.told(id).await.pop().unwrap();
        assert_eq!((kind.as_str(), &told["changed"], told["fields"].as_array().unwrap().len()), ("workbox.updated", &json!(["fields"]), 3));
        // A fresh start knows the values, too.
        let world = World::start(&db).await;
        let w = &world.workboxes;
        assert_eq!(w.close(&ann, id, &none).await.unwrap().status, "CLOSED");

        let renamed = FieldDraft { options: Some(vec![(Some(2), "grün".into()), (None, "blue".into())]), ..FieldDraft::default() };
        let colour = w.redefine_field(&ada, colour.id, renamed).await.unwrap();
        assert_eq!(colour.options.iter().map(|option| option.id).collect::<Vec<_>>(), [2, 3], "numbers are not used again");
        let retyped = FieldDraft { kind: Some(Kind::Text), ..FieldDraft::default() };
        assert_eq!(code(w.redefine_field(&ada, colour.id, retyped).await), Code::ParametersInvalid);
        assert_eq!(w.field_definitions(&otto).await.unwrap().len(), 0);
        w.remove_field(&ada, colour.id).await.unwrap();
        assert_eq!(code(w.remove_field(&ada, colour.id).await), Code::NotFound);
        let view = world.view(&ann, id).await;
        assert_eq!((view.fields.len(), view.field_definitions.len()), (2, 2));
    }
}
