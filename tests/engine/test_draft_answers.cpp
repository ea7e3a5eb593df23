// Answers are the same with and without drafts, whatever else decides them: seeds, batches, stop strings,
// constraints, prompts that are read beside them, and memory that does not suffice.
#include <rapidcheck/gtest.h>

#include "engine/run_sequence.h"
#include "engine/scheduler_test.h"
#include "sampling/random.h"
#include "support/each_model.h"

namespace cachalot {
namespace {

using test::Kind;
using test::Tokens;

// Forces runs of tokens and forbids others, by how much has been written.
class Rhythm final : public TokenConstraint {
  public:
    std::vector<std::int32_t> forced() const override {
        const auto beat = written_ % 11;
        if (beat < 8) return {};
        return {kRun.begin() + static_cast<std::ptrdiff_t>(beat - 8), kRun.end()};
    }
    void mask(std::span<float> logits) override {
        for (std::size_t i = 0; i < logits.size(); ++i)
            if (!may(static_cast<std::int32_t>(i))) logits[i] = -std::numeric_limits<float>::infinity();
    }
    bool allows(std::int32_t token) const override {
        const auto run = forced();
        return run.empty() ? may(token) : token == run.front();
    }
    void accept(std::int32_t) override { ++written_; }
    void rollback(std::size_t count) override { written_ -= count; }

  private:
    bool may(std::int32_t token) const { return (static_cast<std::size_t>(token) + written_) % 5 != 0; }
    static inline const Tokens kRun = {300, 301, 302};
    std::size_t written_ = 0;
};

struct Answer {
    Tokens tokens;
    std::string text;
    std::vector<double> logprobs;
    FinishReason reason = FinishReason::none;
    bool operator==(const Answer&) const = default;
};

struct Request {
    Tokens prompt;
    GenerationOptions how;
    int after = 0;  // passes
};

class DraftedAnswers : public test::SchedulerTest {
  protected:
    // Without a scheduler, one token after the other.
    static Answer alone(Engine& engine, const Request& request) {
        Answer answer;
        Generation generation(engine, request.prompt, request.how);
        auto state = engine.new_state();
        GenerationCallbacks callbacks;
        callbacks.on_text = [&](const std::string& text) {
            answer.text += text;
            return true;
        };
        callbacks.on_token = [&] {
            if (generation.logprobs()) answer.logprobs.push_back(generation.logprobs()->chosen.logprob);
        };
        run(engine, state, generation, callbacks);
        answer.tokens = generation.tokens();
        answer.reason = generation.reason();
        return answer;
    }

    static std::vector<Answer> together(Scheduler& scheduler, Engine& engine,
                                        const std::vector<Request>& requests) {
        std::vector<Answer> answers(requests.size());
        std::vector<std::shared_ptr<Sequence>> sequences(requests.size());
        std::size_t submitted = 0;
        for (int pass = 0; submitted < requests.size() || scheduler.busy(); ++pass) {
            for (std::size_t i = 0; i < requests.size(); ++i) {
                if (sequences[i] || requests[i].after > pass) continue;
                sequences[i] = std::make_shared<Sequence>(
                    Generation(engine, requests[i].prompt, requests[i].how), SequenceOptions());
                scheduler.submit(sequences[i]);
                ++submitted;
            }
            for (const auto& event : scheduler.step()) {
                EXPECT_NE(event.kind, Kind::failed);
                if (event.kind != Kind::wrote) continue;
                auto& answer = answers[static_cast<std::size_t>(
                    std::find(sequences.begin(), sequences.end(), event.sequence) - sequences.begin())];
                answer.text += event.text;
                if (event.logprobs) answer.logprobs.push_back(event.logprobs->chosen.logprob);
            }
        }
        for (std::size_t i = 0; i < answers.size(); ++i) {
            answers[i].tokens = test::tokens_of(*sequences[i]);
            answers[i].reason = sequences[i]->generation().reason();
        }
        return answers;
    }

    // Prompts that repeat themselves, and such that do not.
    Request some_request(SplitMix64& random) const {
        auto below = [&](std::uint64_t n) { return static_cast<std::size_t>(random.next() % n); };
        Request request;
        const auto& source = below(2) ? text : prose;
        const auto piece = test::part(source, below(source.size() - 100), 20 + below(80));
        for (auto repeats = 1 + below(3); repeats > 0; --repeats)
            request.prompt = test::joined(std::move(request.prompt), piece);
        request.after = static_cast<int>(below(20));
        auto& how = request.how;
        how = test::greedy(static_cast<std::int64_t>(10 + below(40)));
        how.ignore_eos = below(2);
        if (below(2)) {
            how.sampling.temperature = 0.7f;
            how.sampling.top_p = below(2) ? 0.9f : 1.0f;
            how.sampling.seed = random.next();
            if (below(2)) how.sampling.repetition_penalty = 1.1f;
        }
        if (below(3) == 0) how.stops = {"the", ". "};
        if (below(3) == 0) how.constraint = [] { return std::make_unique<Rhythm>(); };
        if (below(4) == 0) how.rules.forbidden = {" a", "he"};
        if (below(4) == 0) how.forced = test::part(text, below(100), 20);
        if (below(3) == 0) how.top_logprobs = -1;
        return request;
    }
};

// Looked up, and drafted by a drafter of either kind.
class DraftedAnswersOfEach : public DraftedAnswers, public test::ForEachModel {};

CACHALOT_FOR_MODELS(DraftedAnswersOfEach, "nano_mtp", "nano41");

TEST_P(DraftedAnswersOfEach, AreThoseOfOneTokenAfterTheOther) {
    std::int64_t looked_up = 0, accepted = 0, preempted = 0;
    for (std::uint64_t seed = 0; seed < 12; ++seed) {
        SplitMix64 random(seed);
        EngineOptions with = test::exact(420, 64);
        with.drafter = true;
        Engine engine(model(), test::exact(420, 64)), drafter(model(), with);
        std::vector<Request> requests;
        for (auto n = 2 + random.next() % 4; n > 0; --n) requests.push_back(some_request(random));
        std::vector<Answer> expected;
        for (const auto& request : requests) expected.push_back(alone(engine, request));
        SchedulerOptions options;
        options.headroom = 1;
        options.beside = 16;
        for (auto drafting : {Drafting::off, Drafting::lookup, Drafting::automatic, Drafting::drafter}) {
            options.drafting = drafting;
            const bool own = drafting == Drafting::drafter || (drafting == Drafting::automatic && seed % 2);
            Engine& here = own ? drafter : engine;
            if (seed % 3 == 0)
                options.memory = Scheduler::least_memory(here) + here.kv_pool()->layout().bytes_at(0);
            Scheduler scheduler(here, options);
            const auto answers = together(scheduler, here, requests);
            for (std::size_t i = 0; i < answers.size(); ++i)
                EXPECT_EQ(answers[i], expected[i]) << "seed " << seed << ", request " << i;
            (own ? accepted : looked_up) += scheduler.drafts().accepted;
            preempted += scheduler.preemptions();
        }
    }
    EXPECT_GT(looked_up, 10);
    EXPECT_GT(accepted, 50);
    EXPECT_GT(preempted, 0);
}

TEST_F(DraftedAnswers, DoNotDependOnTheThreads) {
    SplitMix64 random(99);
    std::vector<Request> requests;
    for (int i = 0; i < 6; ++i) requests.push_back(some_request(random));
    std::vector<Answer> expected;
    for (int threads : {1, 2, 3}) {
        Engine engine(test::nano(), {threads});
        SchedulerOptions options;
        options.parallel = 6;
        options.drafting = Drafting::lookup;
        Scheduler scheduler(engine, options);
        const auto answers = together(scheduler, engine, requests);
        if (expected.empty()) expected = answers;
        EXPECT_EQ(answers, expected) << threads;
    }
}

// Whoever writes goes on drafting while somebody else's prompt is read.
TEST_F(DraftedAnswers, DraftBesidePrompts) {
    Engine engine(test::nano(), test::exact(0, 64));
    SchedulerOptions options;
    options.drafting = Drafting::lookup;
    options.beside = 16;
    Scheduler scheduler(engine, options);
    const auto piece = test::part(prose, 0, 60);
    const auto prompt = test::joined(test::joined(piece, piece), piece);
    auto writer = test::sequence(engine, prompt, 60), reader = test::sequence(engine, lengthy(900), 2);
    scheduler.submit(writer);
    while (writer->generation().completion_tokens() == 0) scheduler.step();
    scheduler.submit(reader);
    int passes = 0;
    while (reader->generation().completion_tokens() == 0 && !writer->generation().finished()) {
        scheduler.step();
        ++passes;
    }
    EXPECT_GT(writer->drafts().drafted, 0);
    EXPECT_EQ(writer->generation().completion_tokens(),
              static_cast<std::size_t>(1 + passes + writer->drafts().accepted));
    while (scheduler.busy()) scheduler.step();
    EXPECT_EQ(test::tokens_of(*writer), test::alone(engine, prompt, 60));
    EXPECT_EQ(test::tokens_of(*reader), test::alone(engine, lengthy(900), 2));
}

// Also without drafts, and they count as none.
TEST_F(DraftedAnswers, ForcedTokensAreEvaluatedTogether) {
    Engine engine(test::nano(), test::exact());
    for (auto drafting : {Drafting::off, Drafting::lookup}) {
        SchedulerOptions options;
        options.drafting = drafting;
        Scheduler scheduler(engine, options);
        Request request{test::part(prose, 0, 40), test::greedy(20)};
        request.how.forced = test::part(text, 50, 10);
        auto sequence =
            std::make_shared<Sequence>(Generation(engine, request.prompt, request.how), SequenceOptions());
        scheduler.submit(sequence);
        scheduler.step();  // the prompt, and the first of them
        EXPECT_EQ(sequence->generation().completion_tokens(), 1u);
        scheduler.step();  // the rest, and one that is chosen
        EXPECT_EQ(sequence->generation().completion_tokens(), 11u);
        EXPECT_EQ(scheduler.rows(), 10);
        EXPECT_EQ(sequence->drafts().drafted, 0);
        while (scheduler.busy()) scheduler.step();
        EXPECT_EQ(test::tokens_of(*sequence), alone(engine, request).tokens);
    }
}

// A request may ask for shorter drafts than the scheduler makes, or for none. The text stays the same.
TEST_F(DraftedAnswers, ARequestLimitsItsDrafts) {
    Engine engine(test::nano(), test::exact());
    SchedulerOptions options;
    options.drafting = Drafting::lookup;
    const auto piece = test::part(text, 0, 60);
    const Request request{test::joined(piece, piece), test::greedy(40)};
    for (const int longest : {0, 1, 3, kLongestDraft}) {
        Scheduler scheduler(engine, options);
        SequenceOptions how;
        how.longest_draft = longest;
        auto sequence = std::make_shared<Sequence>(Generation(engine, request.prompt, request.how), how);
        scheduler.submit(sequence);
        while (scheduler.busy()) scheduler.step();
        const DraftFigures drafts = sequence->drafts();
        EXPECT_EQ(drafts.drafts > 0, longest > 0);
        EXPECT_LE(drafts.drafted, drafts.drafts * longest);
        EXPECT_LE(drafts.accepted, drafts.drafted);
        EXPECT_EQ(scheduler.drafts().accepted, drafts.accepted);
        EXPECT_EQ(test::tokens_of(*sequence), alone(engine, request).tokens) << longest;
    }
}

// A draft ends before the first token that may not follow.
TEST_F(DraftedAnswers, DraftsAreCutWhereTheConstraintSaysNo) {
    Engine engine(test::nano(), test::exact());
    const auto& tokenizer = engine.model().tokenizer;
    auto how = test::greedy(20);
    how.ignore_eos = false;
    how.rules.forbidden = {"bad"};
    Generation generation(engine, test::part(prose, 0, 20), how);
    const auto good = tokenizer.encode(" good good", SpecialTokens::literal);
    const auto bad = tokenizer.encode(" bad bad", SpecialTokens::literal);
    EXPECT_EQ(generation.allowed(good), good.size());
    EXPECT_EQ(generation.allowed(test::joined(good, {tokenizer.eos(), 5})), good.size());
    const auto count = generation.allowed(test::joined(good, bad));
    EXPECT_GE(count, good.size());
    EXPECT_LT(count, good.size() + bad.size());
    EXPECT_EQ(generation.allowed(test::joined(good, bad)), count);  // nothing was changed
    how.forced = {7, 8, 9};
    EXPECT_EQ(Generation(engine, test::part(prose, 0, 20), how).allowed(Tokens{7, 8, 3}), 2u);
}

// The sequence that somebody ends in the middle of a pass.
TEST_F(DraftedAnswers, ARunEndsWhereItIsTold) {
    Engine engine(test::nano(), test::exact());
    const auto piece = test::part(prose, 0, 60);
    const auto prompt = test::joined(piece, piece);
    const auto expected = test::alone(engine, prompt, 30);
    Scheduler scheduler(engine, one_at_a_time(engine, Drafting::lookup));
    for (std::size_t written : {1, 5, 9, 30}) {
        auto sequence = test::sequence(engine, prompt, 30);
        std::size_t seen = 0;
        SequenceCallbacks callbacks;
        callbacks.on_event = [&](const SequenceEvent& event) {
            return event.kind != Kind::wrote || ++seen < written;
        };
        const auto run = run_sequence(scheduler, sequence, callbacks);
        EXPECT_EQ(test::tokens_of(*sequence), test::part(expected, 0, prompt.size() + written));
        EXPECT_GT(run.timings.prefill_seconds, 0);
    }
}

}  // namespace
}  // namespace cachalot
