//! The links of a user, beside the echo: asked again and for the first time, audited and not, with few definitions
//! stored and with many; and the user of a definition.

use std::sync::Arc;

use lanyard_proto::v1::definition_ref::Definition;
use lanyard_proto::v1::{DefinitionRef, ListLinkedAuthRequest, ListLinkedAuthResponse, LookupLinkedAuthRequest};
use lanyard_tests::support::postgres;
use prost::Message;

use super::hot::{MANY, SOME, all_good};
use super::rounds::{Side, median};
use super::{Bench, CONNECTIONS, Echo, Name, verify_call};
use crate::Result;
use crate::lanyard::{AuditReads, Data, Setting, client_info};
use crate::load::{Call, Client};
use crate::report::rounded;

const LIST: &str = "/lanyard.v1.LinkedAuthService/ListLinkedAuth";
const LOOKUP: &str = "/lanyard.v1.LinkedAuthService/LookupLinkedAuth";
const LINKS_PER_USER: u64 = 3;
/// What many definitions are compared with.
const FEW_DEFINITIONS: u64 = 10;
/// Users with all their links among so few definitions.
const FEW_USERS: usize = 3;
/// Only own links are listed here, of which this setting writes nothing down.
const OTHERS: Setting = Setting { audit_reads: AuditReads::Others, ..Setting::DEFAULT };

/// A database with links: one session of each user, and the numbers of the definitions.
struct Linked {
    data: Data,
    usts: Vec<String>,
    auth_ids: Vec<i64>,
}

impl Bench {
    /// All that is measured on SQLite.
    pub(super) async fn links(&mut self) -> Result<()> {
        self.progress.set_message("linking");
        let many = self.linked(None, self.plan.definitions).await?;
        let asked = self.asked(&many).to_vec();
        let server = self.site.start(&many.data, &OTHERS).await?;
        let echo = self.start_echo(&many.data, &server, &asked).await?;
        let client = Client::connect(server.addr, CONNECTIONS, Some(&many.data.caller_key)).await?;
        let list = list_call(&asked);
        let side = |call, streams| Side { process: &server.process, client: &client, call, streams };

        self.first(&client, &asked, "list_links_first_sqlite_per_second").await?;
        self.check_list(&client, &asked[0]).await?;
        let length = self.plan.length;
        self.scenario(Name::ListLinks, async |bench| {
            bench.beside_echo("list_links", &echo, &side(&list, MANY), length).await.map(drop)
        })
        .await;
        let few_users = list_call(&asked[..FEW_USERS]);
        self.scenario(Name::ListLinks100k, async |bench| bench.over_few(&side(&few_users, MANY)).await).await;
        let lookup = lookup_call(&many.auth_ids[..asked.len()]);
        self.scenario(Name::Lookup, async |bench| bench.lookup(&echo, &side(&lookup, MANY)).await).await;
        server.process.stop().await?;
        self.scenario(Name::ListLinksAudited, async |bench| bench.list_audited(&many.data, &echo, &asked).await).await;
        Ok(())
    }

    /// Only how soon links are read that nobody asked for before.
    pub(super) async fn links_on_postgres(&mut self) -> Result<()> {
        // Beside the generator, as where verification reads from it.
        let Ok(database) = std::panic::catch_unwind(|| postgres::shared().database()) else {
            self.report.note("list_links_first_postgres was left out: no PostgreSQL");
            return Ok(());
        };
        let linked = self.linked(Some(database.url().to_owned()), self.plan.definitions).await?;
        let asked = self.asked(&linked).to_vec();
        let server = self.site.start(&linked.data, &OTHERS).await?;
        let client = Client::connect(server.addr, CONNECTIONS, Some(&linked.data.caller_key)).await?;
        self.first(&client, &asked, "list_links_first_postgres_per_second").await?;
        server.process.stop().await
    }

    async fn linked(&self, database: Option<String>, definitions: u64) -> Result<Linked> {
        let data = self.site.install(database).await?;
        let usts = self.seed(&data, definitions.div_ceil(LINKS_PER_USER), 1).await?;
        let auth_ids = data.seed_links(definitions, LINKS_PER_USER).await?;
        Ok(Linked { data, usts, auth_ids })
    }

    /// As many sessions as cached verification is measured with. Of the last user some links may be missing.
    fn asked<'a>(&self, linked: &'a Linked) -> &'a [String] {
        let with_all_links = linked.auth_ids.len() / LINKS_PER_USER as usize;
        &linked.usts[..with_all_links.min(self.plan.users as usize)]
    }

    /// The calls that are measured are only looked at; this one is read.
    async fn check_list(&mut self, client: &Client, ust: &str) -> Result<()> {
        let answer: ListLinkedAuthResponse = client.rpc(LIST, &list_request(ust)).await?;
        if answer.links.len() as u64 != LINKS_PER_USER {
            return Err(format!("a user has other links than were seeded: {answer:?}").into());
        }
        self.report.figure("list_links_response_bytes", answer.encoded_len());
        Ok(())
    }

    /// Each user's links once. The sessions are in memory before: what is read is the links, by one statement.
    async fn first(&mut self, client: &Client, usts: &[String], key: &'static str) -> Result<()> {
        let sessions = client.sweep(&verify_call(usts), SOME).await?;
        self.all_answered(key, &sessions);
        let first = client.sweep(&list_call(usts), SOME).await?;
        self.all_answered(key, &first);
        self.report.figure(key, rounded(first.per_second()));
        Ok(())
    }

    /// With many definitions stored over few, the same number of users asking: with more of them it would be the memory
    /// of the machine that is compared.
    async fn over_few(&mut self, many: &Side<'_>) -> Result<()> {
        let few = self.linked(None, FEW_DEFINITIONS).await?;
        let server = self.site.start(&few.data, &OTHERS).await?;
        let client = Client::connect(server.addr, CONNECTIONS, Some(&few.data.caller_key)).await?;
        let call = list_call(&few.usts[..FEW_USERS]);
        let base = Side { process: &server.process, client: &client, call: &call, streams: many.streams };
        let mut ratios = Vec::new();
        for _ in 0..self.plan.rounds {
            let base = self.throughput("list_links_100k", &base, self.plan.length).await?;
            let subject = self.throughput("list_links_100k", many, self.plan.length).await?;
            ratios.push(subject.per_second / base.per_second);
        }
        self.report.figure("list_links_100k_over_10", rounded(median(ratios)));
        self.report.figure("list_links_definitions", self.plan.definitions);
        server.process.stop().await
    }

    async fn lookup(&mut self, echo: &Echo, side: &Side<'_>) -> Result<()> {
        let first = side.client.sweep(side.call, SOME).await?;
        self.all_answered("lookup", &first);
        self.beside_echo("lookup", echo, side, self.plan.length).await.map(drop)
    }

    async fn list_audited(&mut self, data: &Data, echo: &Echo, usts: &[String]) -> Result<()> {
        let server = self.site.start(data, &Setting { audit_reads: AuditReads::All, ..Setting::DEFAULT }).await?;
        let client = Client::connect(server.addr, CONNECTIONS, Some(&data.caller_key)).await?;
        let list = list_call(usts);
        let first = client.sweep(&list, SOME).await?;
        self.all_answered("list_links_audited", &first);
        let side = Side { process: &server.process, client: &client, call: &list, streams: MANY };
        self.beside_echo("list_links_audited", echo, &side, self.plan.length).await?;
        server.process.stop().await
    }
}

fn list_call(usts: &[String]) -> Arc<Call> {
    Call::new(LIST, usts.iter().map(|ust| list_request(ust)), all_good)
}

fn list_request(ust: &str) -> ListLinkedAuthRequest {
    ListLinkedAuthRequest { ust: ust.to_owned(), client: Some(client_info()), ..ListLinkedAuthRequest::default() }
}

fn lookup_call(auth_ids: &[i64]) -> Arc<Call> {
    let request = |auth_id: &i64| LookupLinkedAuthRequest {
        definitions: vec![DefinitionRef { definition: Some(Definition::AuthId(*auth_id)) }],
        client: Some(client_info()),
    };
    Call::new(LOOKUP, auth_ids.iter().map(request), all_good)
}
