//! How long a guess takes tells nothing about how good it is.

use std::{hint::black_box, time::Instant};

use engagement::{config::Settings, model::KeyId};

use super::{Fixture, altered, text};

/// Guesses in all.
const GUESSES: usize = 100_000;

/// How far the medians of two kinds of guesses may be apart, in percent of the smaller.
const APART: f64 = 3.0;

/// Machines are busy with other things at times, but not with one kind of guess only: a difference that is none is gone in
/// one of so many measurements.
const MEASUREMENTS: usize = 10;

/// Takes each kind of guess in turn and gives the median time of each, in nanoseconds.
fn medians(kinds: &[Vec<String>], mut guess: impl FnMut(&str)) -> Vec<f64> {
    let mut times = vec![Vec::with_capacity(GUESSES / kinds.len()); kinds.len()];
    for round in 0..GUESSES / kinds.len() {
        for (at, kind) in kinds.iter().enumerate() {
            let guessed = &kind[round % kind.len()];
            let began = Instant::now();
            guess(guessed);
            times[at].push(began.elapsed());
        }
    }
    times
        .into_iter()
        .map(|mut times| {
            times.sort_unstable();
            times[times.len() / 2].as_secs_f64() * 1e9
        })
        .collect()
}

/// How far they are apart at most, in percent.
fn spread(medians: &[f64]) -> f64 {
    let least = medians.iter().copied().fold(f64::INFINITY, f64::min);
    let most = medians.iter().copied().fold(0.0, f64::max);
    (most / least - 1.0) * 100.0
}

/// Measures until they are near enough; how far they were apart at best.
fn least_spread(kinds: &[Vec<String>], mut guess: impl FnMut(&str)) -> f64 {
    let mut least = f64::INFINITY;
    for _ in 0..MEASUREMENTS {
        least = least.min(spread(&medians(kinds, &mut guess)));
        if least < APART {
            break;
        }
    }
    least
}

/// Guesses that are right in so many letters of the secret, each wrong in another way after that.
fn right_up_to(key: &str, letters: usize) -> Vec<String> {
    let wrong = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let guess = |at: usize| {
        altered(key, |_, secret| {
            let tail: String = (letters..secret.len())
                .map(|place| {
                    let of = secret.as_bytes()[place];
                    let pick = wrong[(place * 7 + at) % 62];
                    char::from(if pick == of {
                        wrong[(place * 7 + at + 1) % 62]
                    } else {
                        pick
                    })
                })
                .collect();
            secret.truncate(letters);
            secret.push_str(&tail);
        })
    };
    (0..50).map(guess).collect()
}

const CONFIGURED: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGH";

/// A ring with a configured key and a stored one, and that one.
async fn fixture() -> (Fixture, String) {
    let settings = Settings {
        api_key: Some(CONFIGURED.into()),
        ..Settings::default()
    };
    let it = Fixture::with(settings).await;
    let key = text(&it.make(|_| {}).await);
    (it, key)
}

fn refuse(it: &Fixture, guess: &str) {
    let refused = it.ring.authenticate(black_box(guess.as_bytes()));
    assert!(black_box(refused).is_err());
}

#[tokio::test]
async fn time_does_not_tell_how_far_a_guess_is_right() {
    let (it, key) = fixture().await;
    let nobodys = altered(&key, |parts, _| parts.id = KeyId::from_number(1));
    let stored = [
        right_up_to(&key, 0),
        right_up_to(&key, 21),
        right_up_to(&key, 42),
        right_up_to(&nobodys, 0),
    ];
    let (but_the_last, _) = CONFIGURED.split_at(CONFIGURED.len() - 1);
    let configured = [
        vec!["#".repeat(CONFIGURED.len())],
        vec![format!("{but_the_last}#")],
    ];

    let [stored, configured] =
        [&stored[..], &configured].map(|kinds| least_spread(kinds, |guess| refuse(&it, guess)));

    println!("medians apart: stored {stored:.2} %, configured {configured:.2} %");
    assert!(stored < APART, "{stored:.2} % apart");
    assert!(configured < APART, "{configured:.2} % apart");
}

/// The same guesses, judged by a program that does the same work and then compares letter by letter.
#[tokio::test]
async fn control_a_comparison_that_stops_early_is_found_out() {
    let (it, key) = fixture().await;
    let kinds = [right_up_to(&key, 0), right_up_to(&key, 21), right_up_to(&key, 42)];

    let apart = least_spread(&kinds, |guess| {
        refuse(&it, guess);
        let mut letters = black_box(&key).bytes().zip(guess.bytes());
        assert!(!letters.all(|(one, other)| black_box(one == other)));
    });

    println!("medians apart: {apart:.2} %");
    assert!(apart > APART, "{apart:.2} % apart");
}
