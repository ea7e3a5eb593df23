// Whether a drafter makes answers faster, by trying: some passes are made with drafts and some without, and
// the faster way is taken. The other one is looked at again now and then, the less often the longer it has
// been the slower.
#pragma once

namespace cachalot {

class DraftTrial {
  public:
    // Whether the next pass of so many sequences that write should have drafts.
    bool next(int sequences);

    // What a pass took that wrote so many tokens of all sequences and read no prompt, drafting included.
    void passed(bool drafted, int tokens, int sequences, double seconds);

    // How much faster tokens are with drafts than without, as far as is known; 1 if it is not.
    double gain() const;
    bool known() const { return plain_.passes >= kEnough && drafted_.passes >= kEnough; }

  private:
    struct Way {
        double seconds = 0;  // for a token of a sequence, the newest passes weigh most
        int passes = 0;
    };
    void begin(int sequences);

    static constexpr int kEnough = 3, kCold = 2, kLookAgain = 32, kLongest = 1024;  // passes
    Way plain_, drafted_;
    int sequences_ = 0;  // for which this is known, about
    int cold_ = kCold;   // first passes of a process, which tell nothing
    int until_look_ = kLookAgain, interval_ = kLookAgain, looks_ = 0;
};

}  // namespace cachalot
