// What sampling costs: a row of a whole vocabulary by itself, and an answer's token while many are written
// together.
//
//     bench_sampling                    the sampler alone, milliseconds for a row of 129,280 logits
//     bench_sampling MODEL [N] [R]      N answers (16) written together with temperature 1 and top-p 0.95,
//                                       against greedy ones; in turns, R rounds (7)
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <functional>

#include "base/error.h"
#include "engine/scheduler.h"
#include "sampling/random.h"

using namespace cachalot;
using Clock = std::chrono::steady_clock;

namespace {

constexpr int kVocabulary = 129'280;
constexpr int kTokens = 24;  // of an answer

double seconds_of(const std::function<void()>& work) {
    const auto start = Clock::now();
    work();
    return std::chrono::duration<double>(Clock::now() - start).count();
}

double median(std::vector<double> values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

std::vector<float> some_logits(double spread) {
    SplitMix64 random(1);
    std::vector<float> logits(kVocabulary);
    for (float& x : logits) {
        double sum = -6;
        for (int i = 0; i < 12; ++i) sum += random.uniform();  // about normal
        x = static_cast<float>(spread * sum);
    }
    return logits;
}

void measure_sampler() {
    const std::vector<std::pair<const char*, SamplingOptions>> cases = {
        {"greedy", {.temperature = 0}},
        {"temperature 1", {}},
        {"top-p 0.95", {.top_p = 0.95f}},
        {"top-k 40", {.top_k = 40}},
        {"top-k 40, top-p 0.95, min-p 0.05", {.top_p = 0.95f, .min_p = 0.05f, .top_k = 40}}};
    for (double spread : {0.5, 3.0}) {
        const auto logits = some_logits(spread);
        for (const auto& [name, options] : cases) {
            Sampler sampler(options, kVocabulary);
            std::vector<double> times;
            for (int i = 0; i < 25; ++i) {
                auto row = logits;
                times.push_back(seconds_of([&] { sampler.sample(row); }));
            }
            fmt::print("{:34} logits spread {:3.1f}   {:6.3f} ms\n", name, spread, median(times) * 1e3);
        }
    }
}

// Writes other tokens than those that are sampled, so that greedy and sampled answers use the same experts.
class Scripted final : public TokenConstraint {
  public:
    Scripted(std::uint64_t seed, std::uint64_t vocabulary) : random_(seed), vocabulary_(vocabulary) {
        next();
    }
    void mask(std::span<float>) override {}
    bool allows(std::int32_t token) const override { return token == token_; }
    std::int32_t instead_of(std::int32_t) const override { return token_; }
    void accept(std::int32_t) override { next(); }
    void rollback(std::size_t) override { fail("nothing is drafted here"); }

  private:
    void next() { token_ = static_cast<std::int32_t>(random_.next() % vocabulary_); }
    SplitMix64 random_;
    std::uint64_t vocabulary_;
    std::int32_t token_ = 0;
};

// Adds the seconds of each pass in which all answers are written.
void write_together(Engine& engine, int answers, bool sampled, std::vector<double>& seconds) {
    SchedulerOptions options;
    options.parallel = answers;
    Scheduler scheduler(engine, options);
    const auto vocabulary = static_cast<std::uint64_t>(engine.model().config.vocab_size);
    for (int i = 0; i < answers; ++i) {
        SplitMix64 random(static_cast<std::uint64_t>(i) + 1);
        std::vector<std::int32_t> prompt;
        for (int n = 0; n < 8; ++n) prompt.push_back(static_cast<std::int32_t>(random.next() % vocabulary));
        GenerationOptions how;
        how.sampling.temperature = sampled ? 1.0f : 0.0f;
        how.sampling.top_p = sampled ? 0.95f : 1.0f;
        how.sampling.seed = static_cast<std::uint64_t>(i);
        how.max_tokens = kTokens;
        how.ignore_eos = true;
        how.constraint = [vocabulary, seed = how.sampling.seed] {
            return std::make_unique<Scripted>(seed, vocabulary);
        };
        scheduler.submit(
            std::make_shared<Sequence>(Generation(engine, std::move(prompt), how), SequenceOptions()));
    }
    while (scheduler.busy() && scheduler.rows() != answers) scheduler.step();
    while (scheduler.busy()) seconds.push_back(seconds_of([&] { scheduler.step(); }));
}

// Other programs only ever make a pass longer.
double fastest_tenth(std::vector<double> values) {
    const auto place = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 10);
    std::nth_element(values.begin(), place, values.end());
    return *place;
}

void measure_answers(const char* path, int answers, int rounds) {
    Engine engine(Model::load(path));
    std::vector<double> greedy, sampled;
    for (int i = 0; i < rounds; ++i) {
        write_together(engine, answers, false, greedy);
        write_together(engine, answers, true, sampled);
    }
    auto report = [&](const char* what, double without, double with) {
        fmt::print("{}: a pass of {} answers takes {:.2f} ms greedy, {:.2f} ms sampled: {:+.1f} %\n", what,
                   answers, without * 1e3, with * 1e3, (with / without - 1) * 100);
    };
    report("median", median(greedy), median(sampled));
    report("fastest tenth", fastest_tenth(greedy), fastest_tenth(sampled));
}

}  // namespace

int main(int argc, char** argv) try {
    if (argc < 2)
        measure_sampler();
    else
        measure_answers(argv[1], std::max(1, argc > 2 ? std::atoi(argv[2]) : 16),
                        std::max(1, argc > 3 ? std::atoi(argv[3]) : 7));
} catch (const Error& e) {
    fmt::print(stderr, "{}\n", e.what());
    return 1;
}
