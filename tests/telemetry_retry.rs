//! A transaction that lost against others and is tried again is seen in its call's trace.

use lanyard_client::secrecy::ExposeSecret;
use lanyard_proto::v1::CreateSessionResponse;
use lanyard_tests::support::otlp::{Collector, text};
use lanyard_tests::support::postgres;
use lanyard_tests::support::server::{Database, run};

use crate::telemetry::{Caller, installation_on, named, trace, traceparent};

/// The database refuses to insert the first two sessions, as it does where transactions collide. A sequence counts them,
/// since it is not rolled back.
const LOSE_TWICE: &str = "
    CREATE SEQUENCE tries;
    CREATE FUNCTION lose_twice() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF nextval('tries') <= 2 THEN RAISE EXCEPTION 'lost' USING ERRCODE = 'serialization_failure'; END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER lose_twice BEFORE INSERT ON session FOR EACH ROW EXECUTE FUNCTION lose_twice()";

#[test]
fn the_span_of_a_write_has_an_event_for_each_time_that_it_was_tried_again() {
    run(async {
        let collector = Collector::grpc().await;
        let installation = installation_on(Database::Postgres, &collector, |_| {}).await;
        postgres::Database::at(installation.prepared.config.database.url.expose()).execute(LOSE_TWICE);
        let program = installation.start();
        let caller = Caller::of(&installation, &program).await;
        let password = installation.prepared.alice.password.expose_secret();
        let headers = [("traceparent", &*traceparent(true)), ("x-correlation-id", "order-7")];
        caller.log_in(password, &headers).await.message::<CreateSessionResponse>();

        let spans = trace(&collector, "order-7", "lanyard.v1.SessionService/CreateSession").await;
        let write = named(&spans, "write").unwrap_or_else(|| panic!("{spans:#?}"));
        let events = write.events.iter().filter(|event| event.name == "transaction is tried again");
        let attempts: Vec<_> = events.map(|event| text(&event.attributes, "attempt")).collect();
        assert_eq!(attempts, [Some("1".to_owned()), Some("2".to_owned())], "{write:#?}");
        let inserts: Vec<_> = spans.iter().filter(|span| span.name == "insert_session").collect();
        assert_eq!(inserts.len(), 3, "each attempt has spans of its own: {spans:#?}");
        assert!(inserts.iter().all(|insert| insert.parent_span_id == write.span_id));
        let page = program.metrics().await;
        assert!(page.contains("\nlanyard_database_write_retries_total 2\n"), "{page}");
    });
}
