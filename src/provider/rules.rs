//! The built-in assistant: five rules, no network, the same answer every time.

use async_trait::async_trait;

use super::{Completion, Pieces, Prompt, Provider, Refusal};
use crate::model::fold;

/// Answers by the rules below.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rules;

#[async_trait]
impl Provider for Rules {
    async fn answer(&self, prompt: &Prompt, pieces: Pieces) -> Result<Completion, Refusal> {
        // Nobody may want the answer any more.
        let _ = pieces.send(answer(prompt.text.as_str()).to_owned()).await;
        Ok(Completion::default())
    }
}

/// The first rule that matches wins. Words are compared case-folded and whole: "This" is no greeting.
pub fn answer(text: &str) -> &'static str {
    let text = fold(text);
    let says = |words: &[&str]| {
        text.split(|c: char| !c.is_alphanumeric())
            .any(|word| words.contains(&word))
    };
    if says(&["hello", "hi", "hey"]) {
        "Hello! How can I assist you today?"
    } else if says(&["help", "support"]) {
        "I'm here to help! What do you need assistance with?"
    } else if text.contains('?') {
        "That's an interesting question. Let me think about that..."
    } else if says(&["thank", "thanks"]) {
        "You're welcome! Is there anything else I can help with?"
    } else {
        "I understand. Can you tell me more about that?"
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GREETING: &str = "Hello! How can I assist you today?";
    const HELP: &str = "I'm here to help! What do you need assistance with?";
    const QUESTION: &str = "That's an interesting question. Let me think about that...";
    const THANKS: &str = "You're welcome! Is there anything else I can help with?";
    const OTHERWISE: &str = "I understand. Can you tell me more about that?";

    #[test]
    fn each_rule_answers_its_words_in_any_case_and_punctuation() {
        for (text, expected) in [
            ("hello", GREETING),
            ("HI!", GREETING),
            ("(hey)", GREETING),
            ("well,hello there", GREETING),
            ("hello_world", GREETING),
            ("help", HELP),
            ("Support.", HELP),
            ("what is it?", QUESTION),
            ("?", QUESTION),
            ("Thank you", THANKS),
            ("THANKS", THANKS),
            ("I like trains", OTHERWISE),
            ("👋", OTHERWISE),
        ] {
            assert_eq!(answer(text), expected, "{text}");
        }
    }

    #[test]
    fn words_are_whole() {
        for text in [
            "This is it",
            "they",
            "helpful supporters",
            "thankful",
            "hithere",
            "hi2",
            "ahey",
            "хі",
        ] {
            assert_eq!(answer(text), OTHERWISE, "{text}");
        }
    }

    #[test]
    fn only_the_ascii_question_mark_asks() {
        for text in ["what is it？", "what is it؟", "¿que"] {
            assert_eq!(answer(text), OTHERWISE, "{text}");
        }
    }

    #[test]
    fn the_first_rule_wins() {
        // Every pair of rules, in both orders of speaking.
        let rules = [
            ("hello", GREETING),
            ("help", HELP),
            ("what?", QUESTION),
            ("thanks", THANKS),
            ("so", OTHERWISE),
        ];
        for (first, (left, expected)) in rules.iter().enumerate() {
            for (right, _) in rules.iter().skip(first) {
                assert_eq!(answer(&format!("{left} {right}")), *expected, "{left} {right}");
                assert_eq!(answer(&format!("{right} {left}")), *expected, "{right} {left}");
            }
        }
    }

    proptest! {
        #[test]
        fn every_text_gets_one_of_the_five_answers(text in ".{0,200}") {
            prop_assert!([GREETING, HELP, QUESTION, THANKS, OTHERWISE].contains(&answer(&text)));
        }

        #[test]
        fn case_never_matters(text in "(hello|help|thanks|so|[a-z]{1,6}|[ ,.!?]){0,8}") {
            prop_assert_eq!(answer(&text), answer(&text.to_uppercase()));
        }
    }
}
