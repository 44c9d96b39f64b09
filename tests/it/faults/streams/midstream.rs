//! SIGKILL while replies are written: whoever watched comes back, and has seen what is stored, to the letter.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use rustix::process::Signal;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::judge::{Stored, same, told_to_a_latecomer};
use super::stage::{Stage, ask};
use crate::faults::{Dice, Proof, database, ensure, fails, holds, number_from_env};
use crate::support::sse::{Ended, Event, Reader};
use crate::support::{SOON, Server, eventually};

/// Conversations that are written in, each with somebody who watches.
const CONVERSATIONS: usize = 4;

/// A reply that takes about a quarter of a second.
const LONG: &str = "stream:50@200";

/// One that takes two seconds, for controls: in their single round it has to be hit.
const LONGER: &str = "stream:400@200";

/// How many pieces are seen at most, by all together, before the server is killed.
const MOST_SEEN: usize = 16;

#[derive(Debug, Default)]
struct Report {
    kills: usize,
    /// Streams that were cut off while their reply was written.
    hit: usize,
    succeeded: usize,
    /// How often the writing of a reply began.
    begun: usize,
    events: usize,
}

/// Somebody who watches a conversation, and the latest reply in it.
struct Watched {
    conversation: String,
    message: String,
    reader: Reader,
    ended: Ended,
}

/// Lets everybody watch over one connection each, until the server is killed when `moment` pieces were seen.
async fn watch_and_kill(
    server: &mut Server,
    all: Vec<Watched>,
    moment: usize,
    pause: Duration,
) -> Proof<Vec<Watched>> {
    let (pieces, over) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let mut watching = JoinSet::new();
    let (mut all, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|one| one.ended == Ended::Found);
    over.fetch_add(all.len(), SeqCst);
    for mut one in rest {
        let (pieces, over) = (Arc::clone(&pieces), Arc::clone(&over));
        watching.spawn(async move {
            let message = one.message.clone();
            one.ended = one
                .reader
                .read(|event| {
                    pieces.fetch_add(usize::from(&*event.name == "reply.delta"), SeqCst);
                    event.ends_reply_to(&message)
                })
                .await;
            over.fetch_add(1, SeqCst);
            one
        });
    }
    eventually("something is written", SOON, async || {
        (pieces.load(SeqCst) >= moment || over.load(SeqCst) == CONVERSATIONS).then_some(())
    })
    .await;
    sleep(pause).await;
    server.signal(Signal::KILL);
    server.wait_exit(SOON).await;
    while let Some(one) = watching.join_next().await {
        let one = one.expect("a reader that ends");
        ensure(matches!(one.ended, Ended::Cut | Ended::Found), || {
            format!("missing: {:?} was all that came after what was seen", one.ended)
        })?;
        all.push(one);
    }
    Ok(all)
}

/// Kills the server in each of the rounds while replies of this text are written and watched, lets `tamper` at the files after each death
/// (counted from 1), and judges what was seen.
async fn prove(
    rounds: usize,
    text: &str,
    least_seen: usize,
    dice: &mut Dice,
    prepare: impl Fn(Reader) -> Reader,
    mut tamper: impl FnMut(usize, &Path),
) -> (Proof<Report>, Stage) {
    let stage = Stage::new(None).await;
    let proof = prove_on(&stage, rounds, text, least_seen, dice, prepare, &mut tamper).await;
    (proof, stage)
}

async fn prove_on(
    stage: &Stage,
    rounds: usize,
    text: &str,
    least_seen: usize,
    dice: &mut Dice,
    prepare: impl Fn(Reader) -> Reader,
    tamper: &mut impl FnMut(usize, &Path),
) -> Proof<Report> {
    let mut server = stage.start().await;
    let mut all = Vec::new();
    for _ in 0..CONVERSATIONS {
        let conversation = server.client().conversation("killed in mid-stream").await;
        let reader = prepare(Reader::of_conversation(server.address(), &conversation));
        all.push(Watched {
            conversation,
            message: String::new(),
            reader,
            ended: Ended::Cut,
        });
    }
    let mut report = Report::default();
    for _ in 0..rounds {
        for one in &mut all {
            one.message = ask(&server.client(), &one.conversation, text, "p/m").await;
            one.ended = Ended::Cut;
        }
        // Some replies die once, some twice.
        for _ in 0..=dice.below(2) {
            let moment = least_seen + dice.below(MOST_SEEN - least_seen);
            let pause = Duration::from_micros(dice.next() % 50_000);
            all = watch_and_kill(&mut server, all, moment, pause).await?;
            report.kills += 1;
            report.hit += all.iter().filter(|one| one.ended == Ended::Cut).count();
            tamper(report.kills, stage.home.path());
            server = stage.start().await;
            for one in &mut all {
                one.reader.move_to(server.address());
            }
        }
        for one in all.iter_mut().filter(|one| one.ended != Ended::Found) {
            let message = one.message.clone();
            let found = |event: &Event| event.ends_reply_to(&message);
            let ended = one.reader.read_on("the reply ends", 2 * SOON, found).await;
            ensure(ended == Ended::Found, || {
                format!("missing: {ended:?} was all that came after what was seen")
            })?;
        }
    }
    for one in &all {
        let stored = Stored::read(&server.client(), &one.conversation).await;
        same(
            &one.reader.log,
            &told_to_a_latecomer(&one.reader, &one.message).await,
        )?;
        stored.agrees_with(&one.reader.log)?;
        report.succeeded += stored.count("succeeded");
        report.events += one.reader.log.len();
        let begun = one
            .reader
            .log
            .iter()
            .filter(|event| &*event.name == "reply.started");
        report.begun += begun.count();
    }
    ensure(report.begun > report.succeeded, || {
        "no death hit a reply".to_owned()
    })?;
    Ok(report)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_watched_a_process_that_was_killed_sees_what_is_stored() {
    let rounds = number_from_env("ENGAGEMENT_TEST_STREAM_KILLS", 16);
    let (proof, stage) = prove(
        rounds,
        LONG,
        0,
        &mut Dice::roll("midstream"),
        |reader| reader,
        |_, _| {},
    )
    .await;
    holds(proof, &stage.home);
}

#[tokio::test]
async fn control_a_reader_that_forgets_what_it_saw_is_seen() {
    let (proof, _) = prove(
        1,
        LONGER,
        MOST_SEEN / 2,
        &mut Dice::roll("control"),
        Reader::forgetful,
        |_, _| {},
    )
    .await;
    fails(proof, "doubled");
}

/// The proof over one round, where a death is followed by some SQL.
async fn prove_over(sql: &'static str) -> Proof<Report> {
    let tamper = |death, home: &Path| {
        if death == 1 {
            database(home).execute_batch(sql).expect("tampering");
        }
    };
    prove(
        1,
        LONGER,
        MOST_SEEN / 2,
        &mut Dice::roll("control"),
        |reader| reader,
        tamper,
    )
    .await
    .0
}

#[tokio::test]
async fn control_events_that_were_told_before_they_were_stored_are_seen() {
    // As if the last few had been in memory only.
    let sql = "DELETE FROM events WHERE number > 3;
               UPDATE conversations SET last_event = 3";
    fails(prove_over(sql).await, "missing");
}

#[tokio::test]
async fn control_a_piece_that_is_lost_is_seen() {
    let sql = "DELETE FROM events WHERE kind = 'delta'";
    fails(prove_over(sql).await, "missing");
}
