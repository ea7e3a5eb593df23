// Whether a draft pays, and how long it should be.
//
// A row that is verified costs time whether it is of use or not: on a processor that reads experts from
// memory, other rows need other experts. How much a row costs is measured, pass by pass, as seconds = fixed +
// rows * each; how often drafts are right, sequence by sequence. Both forget, and a sequence that does not
// draft is tried again after a while.
#pragma once

#include <cstdint>
#include <span>

namespace cachalot {

// How right the drafts of one sequence were.
class DraftRecord {
  public:
    void judged(int accepted, int proposed);
    void skipped();  // a draft would not have paid

    // The probability that the next drafted token is right if all before it were.
    double acceptance() const { return right_ / seen_; }

    std::int64_t proposed = 0, accepted = 0;  // tokens, so far
    std::int64_t drafts = 0;                  // that were verified

  private:
    void forget(double part);
    static constexpr double kPriorRight = 1.5, kPriorSeen = 2;
    double right_ = kPriorRight, seen_ = kPriorSeen;
};

class DraftGate {
  public:
    // What a pass took that read no prompt.
    void passed(int rows, double seconds);

    // What so many passes of a drafter took.
    void drafted(int passes, double seconds);

    // Whether one more pass of the drafter pays, for a token that is right with a probability of `alive` at
    // most: the time that it saves against that of the pass and of the row in which it is verified.
    bool pays(double alive, int sequences, int beside) const;

    // The number of tokens that one of `sequences` that write should verify so that all write fastest; 0 if
    // that costs more than it brings. survival [tokens]: the probability that a token and all before it are
    // right. `beside`: rows of prompts in the same pass, which make every token dearer.
    int length(std::span<const double> survival, int sequences, int beside) const;
    // The same for up to `most` tokens, by what is known of the sequence.
    int length(const DraftRecord& record, int sequences, int beside, int most) const;

    // How many times as fast a sequence that writes alone is where drafts have so many tokens, of which so
    // many are written; 0 if the cost of a row is not known.
    double gain(double drafted, double accepted) const;

  private:
    bool known() const { return each_ >= 0; }

    // Sums of what was measured, each weighed less the longer it is ago.
    double weight_ = 0, rows_ = 0, seconds_ = 0, rows_rows_ = 0, rows_seconds_ = 0;
    double fixed_ = 0, each_ = -1;  // seconds; each_ < 0: not known yet
    double drafting_ = 0;           // seconds of a pass of the drafter, the newest weigh most
};

}  // namespace cachalot
