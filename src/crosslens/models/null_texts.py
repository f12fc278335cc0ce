"""Null texts: sentences that no picture shows, the baseline against which relevance is judged.

`search.relevance_calibration` holds a query against them. They must be of different lengths and forms, in
words that any model knows, and about nothing that can be seen, so that no library has a picture of one.
"""

from __future__ import annotations

_UNPICTURED = """
the interest rate rose by half a percent
according to the second paragraph
as soon as possible
the square root of minus one
a matter of opinion
last Thursday, or perhaps the day before
an increase in the price of oil
in spite of everything
the grammar of a dead language
a rumour that nobody believes
the theory of relativity
the meaning of a word
a change of policy
to whom it may concern
the average of three numbers
a strong argument against it
a forgotten password
the difference between two opinions
an agreement in principle
a promise to be kept
a proof by induction
an error in the third line
until further notice
the rate of unemployment
a question without an answer
the history of philosophy
a sense of duty
not before the end of the month
the law of supply and demand
an excuse for being late
a very long time ago
a legal obligation
the past tense of a verb
half of what was expected
a rise in the cost of living
the opposite of the truth
a tax on imports
an idea whose time has come
the principle of equality
too little and too late
a joke that was not funny
an appointment at three
a reason to be cautious
the probability of an event
a loss of confidence
the third law of thermodynamics
with reference to our earlier discussion
a decision that was put off
the smell of vanilla
a sudden silence
the sound of a distant train
the taste of salt
a dull ache
a change in the tone of voice
a heavy responsibility
the value of money
patience
the week after next
an answer that never came
more or less the same
without any doubt
a point of view
a good reputation
a misunderstanding
for the sake of completeness
an exception to the rule
a secret
the spirit of the age
a free translation
the end of the story
a difficult choice
inflation
jealousy
an interest in economics
the speed of light
an even number
a slip of the tongue
a shortage of staff
a warranty of two years
the name of an unknown author
a nuance of meaning
on the one hand and on the other
a delay of forty minutes
the consequences of a mistake
a unanimous vote
an old grudge
a version with fewer errors
the best of all possible worlds
a hint of irony
a memory of something said
a call that was not returned
the result of a calculation
the month of March
freedom of speech
a lack of evidence
an unexpected turn of events
a clear conscience
the exchange rate of the pound
a concept of time
the need for reform
a compromise
it depends
a wrong assumption
the reliability of a source
a synonym for quickly
an accent on the second syllable
the frequency of a signal
a sum of squares
less than a quarter
the advantage of hindsight
a conflict of interest
an unfair comparison
the burden of proof
a figure of speech
a coincidence
what was meant by it
a standard deviation
an alternative explanation
the lower bound
a lasting influence
"""

UNPICTURED = tuple(_UNPICTURED.strip().splitlines())
