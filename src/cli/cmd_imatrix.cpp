// cachalot imatrix: which inputs of which matrix matter, measured on text, for quantisers.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/hash.h"
#include "cli/command.h"
#include "cli/text_input.h"
#include "file/output_file.h"
#include "file/output_target.h"
#include "file/text_file.h"
#include "measure/importance_collector.h"
#include "measure/text_windows.h"
#include "sampling/logprobs.h"

namespace cachalot::cli {
namespace {

struct ImatrixOptions {
    ModelOptions model;
    std::vector<std::string> files, merge;
    std::string output;
    bool special = false, force = false, json = false;
    std::int64_t chunks = 0;
    double save_every = 5;  // minutes
};

constexpr std::int64_t kWindow = 512;  // unless --ctx says otherwise

// The windows of all texts, each with the token in front that every sequence begins with.
using Windows = std::vector<std::vector<std::int32_t>>;

Windows windows_of(const ImatrixOptions& o, const Tokenizer& tokenizer, std::size_t size) {
    Windows windows;
    for (const auto& file : o.files) {
        const auto ids =
            tokenizer.encode(input_text("", file), o.special ? SpecialTokens::parse : SpecialTokens::literal);
        for (const auto piece : text_windows(ids, size - 1)) {
            windows.emplace_back(1, tokenizer.bos());
            windows.back().insert(windows.back().end(), piece.begin(), piece.end());
        }
    }
    if (windows.empty()) fail("the text has less than 2 tokens");
    if (o.chunks > 0 && windows.size() > static_cast<std::size_t>(o.chunks))
        windows.resize(static_cast<std::size_t>(o.chunks));
    return windows;
}

// What a file must have been made from to go on with it.
std::string fingerprint(const ImatrixOptions& o, const Windows& windows) {
    std::vector<std::int32_t> all;
    for (const auto& w : windows) {
        all.push_back(-1);
        all.insert(all.end(), w.begin(), w.end());
    }
    std::string name = hex(hash128(std::as_bytes(std::span(all))));
    for (const auto& file : o.merge) name += " + " + file;
    return name;
}

// Returns the mean negative log-likelihood of the texts, as a check of them; NaN if a part had been read
// before.
double collect(const ImatrixOptions& o, const std::shared_ptr<const Model>& model, const Windows& windows,
               ImportanceMatrix& matrix) {
    ImportanceCollector collector(*model, matrix);
    Engine engine = o.model.engine(model, &collector);
    const bool saves = !OutputTarget::of(o.output).is_stream;  // a FIFO takes the result only
    if (saves) OutputFile(o.output).reserve(matrix.file_bytes());
    Progress progress("measuring", "windows");
    using Clock = std::chrono::steady_clock;
    auto saved = Clock::now();
    double nll = 0;
    std::size_t count = 0;
    const auto chunks_before = matrix.text_chunks;
    for (std::size_t w = matrix.text_chunks; w < windows.size(); ++w) {
        const auto& window = windows[w];
        evaluate_window(engine, window, [&](std::size_t i, std::span<const float> logits) {
            nll += log_sum_exp(logits) - logits[static_cast<std::size_t>(window[i + 1])];
            ++count;
        });
        ++matrix.chunk_count;
        ++matrix.text_chunks;
        if (saves && o.save_every > 0 &&
            Clock::now() - saved > std::chrono::duration<double, std::ratio<60>>(o.save_every)) {
            matrix.save(o.output);
            saved = Clock::now();
        }
        progress.update(w + 1, windows.size());
    }
    return count && chunks_before == 0 ? nll / static_cast<double>(count) : std::nan("");
}

// How often the experts of one tensor were chosen.
struct Coverage {
    std::string tensor;
    std::vector<std::int64_t> counts, never;  // [experts]; numbers of those not chosen
    std::int64_t least = 0, median = 0, most = 0;
};

// Of every layer; the three matrices of an expert see the same tokens.
std::vector<Coverage> coverage_of(const ImportanceMatrix& matrix) {
    std::vector<Coverage> all;
    for (const auto& [tensor, entry] : matrix.entries()) {
        if (entry.experts < 2 || tensor.find("down_exps") == std::string::npos) continue;
        Coverage c{tensor, entry.counts, {}};
        for (std::size_t e = 0; e < c.counts.size(); ++e)
            if (c.counts[e] == 0) c.never.push_back(static_cast<std::int64_t>(e));
        auto sorted = c.counts;
        std::sort(sorted.begin(), sorted.end());
        c.least = sorted.front();
        c.median = sorted[sorted.size() / 2];
        c.most = sorted.back();
        all.push_back(std::move(c));
    }
    // "blk.10." after "blk.9.": a longer name of the same form has a larger number.
    std::stable_sort(all.begin(), all.end(),
                     [](const auto& a, const auto& b) { return a.tensor.size() < b.tensor.size(); });
    return all;
}

std::string list_of(const std::vector<std::int64_t>& numbers) {
    constexpr std::size_t kShown = 12;
    const auto end = numbers.begin() + std::ptrdiff_t(std::min(kShown, numbers.size()));
    return fmt::format("{}{}", fmt::join(numbers.begin(), end, ", "), numbers.size() > kShown ? ", ..." : "");
}

void report(const ImatrixOptions& o, const ImportanceMatrix& matrix, double nll) {
    const auto coverage = coverage_of(matrix);
    std::size_t experts = 0, never = 0;
    for (const auto& c : coverage) {
        experts += c.counts.size();
        never += c.never.size();
    }
    if (o.json) {
        nlohmann::ordered_json result{{"tensors", matrix.entries().size()},
                                      {"chunks", matrix.chunk_count},
                                      {"chunk_size", matrix.chunk_size},
                                      {"datasets", matrix.datasets},
                                      {"experts", experts},
                                      {"experts_never_seen", never},
                                      {"layers", nlohmann::json::array()}};
        if (!std::isnan(nll)) result["nll"] = nll;
        for (const auto& c : coverage)
            result["layers"].push_back({{"tensor", c.tensor},
                                        {"counts", c.counts},
                                        {"never", c.never},
                                        {"least", c.least},
                                        {"median", c.median},
                                        {"most", c.most}});
        return print_line(result.dump());
    }
    std::string text = fmt::format("{} tensors, {} windows of {} tokens", matrix.entries().size(),
                                   matrix.chunk_count, matrix.chunk_size);
    if (!std::isnan(nll)) text += fmt::format(", nll {:.4f}", nll);
    text += fmt::format("\n{:<28} {:>11} {:>10} {:>10} {:>10}  never\n", "tokens that an expert saw", "seen",
                        "least", "median", "most");
    for (const auto& c : coverage)
        text += fmt::format("{:<28} {:>4} of {:<4} {:>9} {:>10} {:>10}  {}\n", c.tensor,
                            c.counts.size() - c.never.size(), c.counts.size(), c.least, c.median, c.most,
                            list_of(c.never));
    print_lines(text);
    if (never)
        say("cachalot: {} of {} experts were never chosen, so nothing is known about them; "
            "more or other text may reach them",
            never, experts);
}

void imatrix(const ImatrixOptions& o) {
    if (o.files.empty() && o.merge.empty())
        wrong_usage("nothing to do: give texts with -f, or files to --merge");
    if (!o.files.empty() && o.output.empty()) wrong_usage("give the file to write with -o");

    // What is merged may be replaced by the sum.
    const CommandFiles files{.inputs = o.files, .outputs = {o.output}};
    if (o.files.empty())
        files.check();
    else
        o.model.check(files);

    std::shared_ptr<const Model> model;
    Windows windows;
    ImportanceMatrix matrix;
    std::string text;
    std::size_t size = 0;
    if (!o.files.empty()) {
        model = load_model(o.model);
        size = window_size(o.model.context, model->config.context_length, kWindow);
        windows = windows_of(o, model->tokenizer, size);
        text = fingerprint(o, windows);
    }
    bool go_on = false;
    if (!o.output.empty() && !o.force && would_replace(o.output)) {
        if (!text.empty()) matrix = ImportanceMatrix::load(o.output);
        go_on = !text.empty() && matrix.text == text;
        if (!go_on)
            fail(
                "{} exists and is not an unfinished one of the same text; "
                "--force replaces it, --merge takes it in",
                o.output);
        say("cachalot: {} holds {} of {} windows", o.output, matrix.text_chunks, windows.size());
    }
    if (!go_on) {
        matrix = {};
        for (const auto& file : o.merge) matrix.merge(ImportanceMatrix::load(file));
        matrix.datasets.insert(matrix.datasets.end(), o.files.begin(), o.files.end());
        matrix.text = text;
        if (size) matrix.chunk_size = static_cast<std::uint32_t>(size);
    }
    const double nll = model ? collect(o, model, windows, matrix) : std::nan("");
    if (!o.output.empty()) save_or_keep(o.output, [&](const std::string& path) { matrix.save(path); });
    report(o, matrix, nll);
}

}  // namespace

void add_imatrix(CLI::App& app) {
    auto o = std::make_shared<ImatrixOptions>();
    auto* command = app.add_subcommand("imatrix", "Measures on text which weights matter, for convert");
    o->model.add_to(*command);
    describe_windows(*command, kWindow);
    command->add_option("-f,--file", o->files, "a text; may be repeated")->type_name("FILE");
    command->add_option("-o,--output", o->output, "the importance matrix to write (GGUF, as llama.cpp's)")
        ->type_name("FILE");
    command->add_option("--merge", o->merge, "take in an importance matrix; may be repeated")
        ->type_name("FILE");
    command->add_flag("--special", o->special,
                      "control tokens in the texts are control tokens, as in conversations written out");
    command->add_option("--chunks", o->chunks, "read only so many windows; 0: all")
        ->check(CLI::Range(std::int64_t(0), std::int64_t(1) << 30))
        ->type_name("N");
    command
        ->add_option("--save-every", o->save_every,
                     "save the unfinished matrix every so many minutes; 0: only at the end")
        ->check(CLI::Range(0.0, 1e6))
        ->capture_default_str()
        ->type_name("MINUTES");
    command->add_flag("--force", o->force, "replace OUTPUT if it exists");
    command->add_flag("--json", o->json, "print the coverage as JSON");
    command->footer(
        "Texts are cut into windows of --ctx tokens (default 512), each evaluated on its own. Use text like\n"
        "that which the model will see, and enough of it: the report says which experts it has not reached.\n"
        "The same command goes on where it was interrupted. Without -f, --merge only adds files up, and\n"
        "without -o it only reports.");
    command->callback([o] { imatrix(*o); });
}

}  // namespace cachalot::cli
