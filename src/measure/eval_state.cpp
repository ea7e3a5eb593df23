#include "measure/eval_state.h"

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "base/error.h"
#include "file/in_quotes.h"
#include "file/json.h"
#include "file/text_file.h"

namespace cachalot {
namespace {

using nlohmann::json;

std::string line_of(const nlohmann::ordered_json& value) {
    return value.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

nlohmann::ordered_json header(const std::string& run, const std::string& model) {
    return {{"cachalot_eval", 1}, {"run", run}, {"model", model}};
}

constexpr std::string_view kBegin = R"({"cachalot_eval":)";  // of header()

EvalOutcome outcome_of(const json& line) {
    EvalOutcome o;
    o.id = line.at("id").get<std::string>();
    o.score = line.at("score").get<double>();
    o.expected = line.at("expected").get<std::string>();
    o.answers = line.at("answers").get<std::vector<std::string>>();
    o.prompt_tokens = line.at("prompt_tokens").get<std::int64_t>();
    o.answer_tokens = line.at("answer_tokens").get<std::int64_t>();
    o.cut = line.at("cut").get<bool>();
    if (!(o.score >= 0 && o.score <= 1)) fail("score is {}", o.score);
    return o;
}

}  // namespace

nlohmann::ordered_json to_json(const EvalOutcome& o) {
    return {{"id", o.id},
            {"score", o.score},
            {"expected", o.expected},
            {"answers", o.answers},
            {"prompt_tokens", o.prompt_tokens},
            {"answer_tokens", o.answer_tokens},
            {"cut", o.cut}};
}

EvalRecord parse_eval_record(std::string_view text, const std::string& source) {
    if (!text.starts_with(kBegin)) fail("{}: is not a state of eval, as --state writes it", source);
    EvalRecord record;
    std::size_t number = 0;
    for (auto end = text.find('\n'); end != text.npos; text.remove_prefix(end + 1), end = text.find('\n')) {
        const auto where = fmt::format("{}: line {}", source, ++number);
        const json line = parse_file_json(text.substr(0, end), where);
        try {
            if (number == 1) {
                if (line.at("cachalot_eval") != 1)
                    fail("version is {}", in_quotes(line.at("cachalot_eval").dump()));
                record.run = line.at("run").get<std::string>();
                record.model = line.at("model").get<std::string>();
            } else {
                auto outcome = outcome_of(line);
                record.outcomes[outcome.id] = std::move(outcome);
            }
        } catch (const json::exception& error) {
            fail("{}: not a line of a state of eval ({})", where, error.what());
        } catch (const Error& error) {
            fail("{}: {}", where, error.what());
        }
    }
    if (number == 0) fail("{}: not a state of eval", source);
    return record;
}

EvalState::EvalState(const std::filesystem::path& path, const std::string& run, const std::string& model)
    : path_(path.string()) {
    if (path_.empty()) return;
    std::string text;
    if (std::filesystem::exists(path)) text = read_text_file(path);
    const std::string_view begin = kBegin;
    const auto shorter = std::min(begin.size(), text.size());
    if (text.substr(0, shorter) != begin.substr(0, shorter))
        fail("{}: exists and is not a state of eval; name another file", path_);
    if (text.find('\n') == text.npos) text.clear();  // not even the header was written
    if (!text.empty()) {
        record_ = parse_eval_record(text, path_);
        if (record_.run != run)
            fail("{}: is of another run ({} with {}, not {}); give another file or remove it", path_,
                 in_quotes(record_.model), record_.run, run);
        std::filesystem::resize_file(path, text.rfind('\n') + 1);
    }
    const bool is_new = !std::filesystem::exists(path);
    file_.open(path, text.empty() ? std::ios::binary | std::ios::trunc : std::ios::binary | std::ios::app);
    if (text.empty()) file_ << line_of(header(run, model));
    if (file_.flush()) return;
    const auto reason = std::generic_category().message(errno);
    if (std::error_code ignored; is_new) std::filesystem::remove(path, ignored);
    fail("{}: cannot be written: {}", path_, reason);
}

const EvalOutcome* EvalState::find(const std::string& id) const {
    const auto found = record_.outcomes.find(id);
    return found == record_.outcomes.end() ? nullptr : &found->second;
}

void EvalState::add(const EvalOutcome& outcome) {
    if (path_.empty()) return;
    record_.outcomes[outcome.id] = outcome;
    if (!(file_ << line_of(to_json(outcome))).flush())
        fail("{}: cannot be written: {}", path_, std::generic_category().message(errno));
}

}  // namespace cachalot
