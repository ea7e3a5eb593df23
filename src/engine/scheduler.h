// Many answers at once: which tokens the next pass evaluates, and who has to wait.
//
// A pass reads the dense weights and every chosen expert once, however many rows it has, so the answers being
// written take their steps together, each with one row. Prompts are read in chunks beside them. Every pass
// consists of
//
//     one row            of each sequence that writes
//     a chunk of prompt  of each sequence that reads, so that all of them together have `chunk` rows, or only
//                        `beside` if anybody writes, who would otherwise wait long for the next token
//
// What is left of the chunk when short prompts have got all they want goes to longer ones (max-min fairness),
// so a short request answers within a few passes, whatever else is being read.
//
// Who waits is served in the order of a rank that never changes: the number of the pass in which it came,
// plus kClassPasses for each step down in priority. So an interactive request overtakes those that came up to
// kClassPasses before it with lower priority, and none before that: nobody starves. The sequence of lowest
// rank always goes on.
//
// When memory is short, prefixes that are only kept make room for those who fit beside each other with all
// the tokens that they know; those that somebody waits to continue from go last. For others no prefix is
// thrown away: who would come waits, and who runs has what is free, until the one of highest rank goes back
// to the queue. Its state is kept as a prefix like any other, so it continues where it was, unless that had
// to make room, too.
//
// A pass that fails, because an expert cannot be read, does not say who is to blame. Whoever took part is
// tried once more by itself, taking turns with the others: where it was if its state is intact, else from
// what is kept of it. Only who fails by itself ends with the error.
//
// States are kept in a PrefixIndex: at the end of an answer or of what there is of it; a few tokens before
// the header of the last answer, because from there on a prompt may still change (reasoning is dropped from
// history when the user speaks again; a client adds to its last message, whose last tokens then become
// others); every kKeepEvery tokens; and where two prompts part. A request whose prompt begins like one that
// is being read waits until that has come to the place where they part, and continues from there: several
// choices, or several agents with the same instructions, read them once.
//
// With a disk tier, what is kept is written there, too. A sequence of whose prompt more is found there than
// in memory has its place and its memory while that is read in the background, and starts when it has come;
// the others go on. Should their memory become short, such a sequence goes back to the queue like one that
// runs, and asks again later.
//
// Who writes may draft (drafter.h): then its newest token is evaluated together with tokens that may follow,
// and what was drafted wrongly is taken back. That changes how many passes an answer takes, and nothing else
// of it. Tokens that are forced (sampling/token_constraint.h) are evaluated in the same way; they are never
// wrong.
//
// After a pass every sequence chooses its tokens from its own logits with its own random numbers, so the
// threads of the backend do that for several sequences at once. All else is done by the caller's thread, and
// without a disk tier and with drafts off nothing depends on a clock: the same calls give the same passes.
#pragma once

#include <chrono>
#include <exception>
#include <map>
#include <set>

#include "engine/draft_calibration.h"
#include "engine/draft_gate.h"
#include "engine/draft_trial.h"
#include "engine/drafting.h"
#include "engine/generation.h"
#include "engine/lookup_drafter.h"
#include "engine/model_drafter.h"
#include "engine/shared_tokens.h"
#include "prefix/disk_tier.h"
#include "prefix/prefix_index.h"

namespace cachalot {

enum class Priority { interactive, normal, background };

struct SequenceOptions {
    Priority priority = Priority::normal;
    std::string space;                  // prefixes are shared only within one
    std::int64_t header = 0;            // the token where the last answer's header begins; 0: there is none
    bool all_logits = false;            // of the prompt's tokens, too; they are all evaluated
    int longest_draft = kLongestDraft;  // tokens, if the scheduler drafts
};

// An answer for the scheduler to write.
class Sequence {
  public:
    Sequence(Generation generation, SequenceOptions options)
        : generation_(std::move(generation)), options_(std::move(options)) {}

    const Generation& generation() const { return generation_; }
    std::int64_t cached() const { return cached_; }  // tokens of the prompt that were known when it started
    std::int64_t cached_on_disk() const { return on_disk_; }  // those of them that had to be read from disk
    DraftFigures drafts() const { return {drafts_.drafts, drafts_.proposed, drafts_.accepted}; }
    std::int64_t bytes() const { return bytes_; }  // of its state after its last pass, shared pages included

    // When it began to be read, and the ends of the passes that gave its first and its newest token; so far.
    struct Times {
        std::chrono::steady_clock::time_point started, first_token, last_token;
    };
    const Times& times() const { return times_; }

  private:
    friend class Scheduler;
    using Rank = std::pair<std::int64_t, std::int64_t>;

    std::span<const std::int32_t> tokens() const { return generation_.tokens(); }
    bool reads() const { return generation_.pending().size() > 1; }
    RowsKind rows_kind() const {
        const bool written = tokens().size() > generation_.prompt_tokens();
        return written && !reads() ? RowsKind::decode : RowsKind::prompt;
    }
    bool in_doubt() const { return proven_at_ > 0; }

    // The tokens of which a state can be continued from.
    std::span<const std::int32_t> prefix() const {
        return tokens().first(options_.all_logits ? 0 : tokens().size() - 1);
    }

    // It runs, and goes on behind the tokens that are in this state.
    void resume(KvState state) {
        state_.emplace(std::move(state));
        base_ = state_->length();
        generation_.continue_at(static_cast<std::size_t>(base_));
    }

    Generation generation_;
    SequenceOptions options_;
    Rank rank_{};
    bool started_ = false;
    std::int64_t cached_ = 0, on_disk_ = 0;
    bool asked_disk_ = false;
    std::shared_ptr<DiskRead> fetch_;  // while its prefix is read from disk
    std::int64_t base_ = 0;            // length of the kept state that it continued from, or will
    std::optional<KvState> state_;     // while it runs
    std::int64_t bytes_ = 0;
    std::unique_ptr<LookupDrafter> lookup_;  // once it was asked
    DraftRecord drafts_;
    Times times_;
    std::set<std::int64_t> marks_;  // lengths at which the state is to be kept
    std::int64_t proven_at_ =
        0;  // after a failed pass: the length at which it has not been the reason; 0: no doubt

    // While it waits: what it is going to continue from, which is evicted last, ...
    std::shared_ptr<const KvCheckpoint> wanted_;
    std::int64_t known_ = 0, known_at_ = -1;  // ... its length when PrefixIndex::changes() was known_at_
    SharedTokens shared_;                     // and what it has in common with others
};

// What a pass did for a sequence.
struct SequenceEvent {
    enum class Kind {
        started,  // it runs for the first time; cached() is known
        read,     // `done` tokens of the prompt are evaluated
        wrote,    // one more token, or none if there was nothing to write
        failed,   // by `error`, and is gone
    } kind;
    std::shared_ptr<Sequence> sequence;
    std::int64_t done = 0;
    std::span<const float> logits =
        {};  // read, with all_logits: [n, vocab] of the tokens done-n .. done-1, until the next pass
    // wrote: of this token, which may not be the sequence's last one, since a pass can write several
    std::string text = {};
    std::optional<Logprobs> logprobs = {};
    std::size_t text_offset = 0;  // see Generation
    std::size_t length = 0;       // of the sequence with this token, EOS included
    bool last = false;            // the generation is finished
    std::exception_ptr error = nullptr;
};

struct SchedulerOptions {
    int parallel = 4;         // sequences that run at once
    int beside = 128;         // most tokens of prompts in a pass in which somebody writes
    std::int64_t memory = 0;  // bytes for states, running and kept; 0: no limit
    std::int64_t headroom =
        256;  // tokens that a sequence must have memory for, beside what it has, in order to start
    Drafting drafting = Drafting::off;
    int longest_draft = kLongestDraft;  // tokens
    DiskTier* disk = nullptr;           // for kept states; must outlive the scheduler
};

class Scheduler {
  public:
    // Throws Error for options out of range, and for memory that does not hold one sequence as long as the
    // context.
    explicit Scheduler(Engine& engine, const SchedulerOptions& options = {});

    // The least that `memory` may be.
    static std::int64_t least_memory(const Engine& engine);

    // From now on, where there was no disk tier; it must outlive the scheduler.
    void use(DiskTier& disk) { options_.disk = &disk; }

    void submit(std::shared_ptr<Sequence> sequence);

    // Ends a sequence from outside, between passes, and keeps its state. With a length, because of what is in
    // so many of its tokens: what was written beyond them does not count. Returns the text that was held
    // back. If it is not here any more, only its length changes.
    std::string stop(const std::shared_ptr<Sequence>& sequence, std::optional<std::size_t> length = {});

    // One pass. Without anything to do, nothing; waits for some milliseconds if that is because of the disk.
    std::vector<SequenceEvent> step();

    bool busy() const { return !running_.empty() || !waiting_.empty() || !fetching_.empty(); }

    // Keeps a state that is not of this scheduler's making, as it does its own; false if there is no memory
    // for it. The state's memory counts as the engine's.
    bool adopt(const std::string& space, std::span<const std::int32_t> tokens, KvCheckpoint state);

    std::size_t running() const { return running_.size(); }
    std::size_t waiting() const { return waiting_.size() + fetching_.size(); }
    std::int64_t rows() const { return rows_; }  // of the last pass
    std::int64_t running_bytes() const;          // of their states, shared pages counted for each
    std::int64_t preemptions() const { return preemptions_; }
    DraftFigures drafts() const;      // of all sequences
    const char* drafts_from() const;  // "off", "lookup", "dspark" or "mtp"
    // Tokens of prompts that were found, of all sequences that have started.
    std::int64_t hits_in_memory() const { return hits_in_memory_; }
    std::int64_t hits_on_disk() const { return hits_on_disk_; }
    std::int64_t memory() const { return options_.memory; }
    const PrefixIndex& prefixes() const { return prefixes_; }

  private:
    static constexpr std::int64_t kKeepEvery = 2048;  // tokens

    using Held = std::shared_ptr<Sequence>;
    struct Part {
        Held sequence;
        std::int64_t rows;                    // tokens that are known
        std::vector<std::int32_t> draft;      // and tokens that may follow them, ...
        bool forced = false;                  // or have to
        std::vector<float> confidences = {};  // of a draft by the drafter: of its tokens
        bool context = false;                 // the rows leave the last layers out
    };
    struct Company {
        int writers, beside;  // sequences that write, rows of prompts beside them
    };
    // What a pass was for one part.
    struct Outcome {
        std::int64_t start;  // tokens that were evaluated before
        bool of_prompt;      // nothing had been written
        bool all_read;       // the end of what is known was reached, so that tokens are chosen
        std::vector<SequenceEvent> written = {};
        int accepted = 0;  // drafted tokens
        std::exception_ptr error = nullptr;
    };

    // scheduler_admission.cpp
    void collect();
    void admit();
    bool must_wait(Sequence& sequence);
    std::int64_t known(Sequence& sequence) const;
    bool start(const Held& sequence);
    bool fetch(const Held& sequence, const PrefixIndex::Match& match);
    void note_start(const Held& sequence, std::int64_t cached);
    void set_marks(Sequence& sequence, std::int64_t shared) const;
    void wait_again(const Held& sequence);

    // scheduler_memory.cpp
    std::int64_t bytes_for(std::int64_t length, std::int64_t shared) const;
    std::int64_t bytes_together(std::int64_t length = 0, std::int64_t shared = 0) const;
    bool has_room(std::int64_t bytes) const;
    bool evict_for(std::int64_t bytes);
    bool make_room(std::int64_t bytes);
    bool let_go();
    void keep(Sequence& sequence, std::int64_t length);
    void preempt();
    void retire(const Held& sequence);

    // scheduler.cpp
    std::vector<Part> plan();
    std::vector<Part> participants() const;
    std::vector<Part> share_rows() const;
    std::int64_t next_stop(const Sequence& sequence) const;
    void cut_at_stop(Part& part) const;
    void cut(Sequence& sequence, std::size_t length);
    void evaluate(const std::vector<Part>& parts);
    void pass_failed(const std::vector<Part>& parts, const std::exception_ptr& error);
    void drop(const Held& sequence, std::exception_ptr error);

    // scheduler_drafting.cpp
    void draft(std::vector<Part>& parts);
    int most_beside(const Sequence& sequence, int most) const;
    int longest_draft(const Sequence& sequence) const;
    void force(Part& part) const;
    void look_up(Part& part, const Company& company);
    void ask_drafter(std::vector<Part*> parts, const Company& company);
    void judge(const Part& part, int accepted);

    // scheduler_writing.cpp
    void advance(const std::vector<Part>& parts, const Batch& batch, const PassOutput& output);
    void choose(const Part& part, std::span<float> logits, Outcome& outcome) const;
    void settle(const Part& part, std::span<float> logits, Outcome outcome);

    Engine& engine_;
    SchedulerOptions options_;
    const KvLayout& layout_;    // of the states
    const std::int64_t limit_;  // of memory, less what a checkpoint may take for a moment
    // By rank. Fetching and running sequences take places; waiting ones do not.
    std::map<Sequence::Rank, Held> waiting_, fetching_, running_;
    PrefixIndex prefixes_;
    std::vector<SequenceEvent> events_;
    std::int64_t passes_ = 0, submitted_ = 0, rows_ = 0, preemptions_ = 0;
    std::int64_t hits_in_memory_ = 0, hits_on_disk_ = 0;
    DraftFigures drafts_;
    std::unique_ptr<ModelDrafter> drafter_;  // null: it is not used
    DraftGate gate_;
    DraftTrial trial_;
    KeptCalibration calibration_;
    bool drafter_doubted_ = false;
    double pass_seconds_ = 0, draft_seconds_ = 0;  // of the last pass
};

}  // namespace cachalot
