#include "measure/official_answers.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "file/in_quotes.h"
#include "file/json.h"
#include "file/text_file.h"
#include "sampling/logprobs.h"
#include "text/prompt.h"

namespace cachalot {
namespace {

using nlohmann::json;

constexpr std::string_view kSchema = "ds4-official-logprobs-v1";
constexpr double kNoFigure = -9000;  // -9999 stands for no figure

// A member of an object, of the type that T is read from.
const json& member(const json& object, const char* name, json::value_t type, const std::string& source) {
    const auto found = object.is_object() ? object.find(name) : object.end();
    const bool natural = type == json::value_t::number_unsigned;
    if (!object.is_object() || found == object.end() ||
        (found->type() != type && !(natural && found->is_number_unsigned())))
        fail("{}: {} is missing or no {}", source, name, json(type).type_name());
    return *found;
}

std::string text_of(const json& object, const char* name, const std::string& source) {
    return member(object, name, json::value_t::string, source).get<std::string>();
}

// {"token": {"text", "bytes"}, "logprob"}
OfficialToken token_of(const json& entry, const std::string& source) {
    const auto& token = member(entry, "token", json::value_t::object, source);
    OfficialToken result;
    for (const auto& byte : member(token, "bytes", json::value_t::array, source)) {
        if (!byte.is_number_unsigned() || byte.get<std::uint64_t>() > 255)
            fail("{}: bytes holds what is no byte", source);
        result.bytes += static_cast<char>(byte.get<std::uint8_t>());
    }
    const auto logprob = entry.find("logprob");
    if (logprob == entry.end() || !logprob->is_number()) fail("{}: logprob is missing or no number", source);
    if (logprob->get<double>() > kNoFigure) result.logprob = logprob->get<double>();
    return result;
}

std::int32_t id_of(const Engine& engine, const std::string& bytes, const OfficialAnswer& answer) {
    const Tokenizer& tokenizer = engine.model().tokenizer;
    // The API spells the end with doubled bars.
    if (bytes.find("end▁of▁sentence") != std::string::npos) return tokenizer.eos();
    const auto id = tokenizer.find(bytes);
    if (!id)
        fail(
            "{}: the official answer to {} has the token {}, which this vocabulary of {} has not; "
            "the check needs {} or what was made from it",
            engine.model().checkpoint->source(), answer.id, in_quotes(bytes), tokenizer.size(), answer.model);
    return *id;
}

OfficialScore::Step score_step(const Engine& engine, const OfficialAnswer& answer,
                               const OfficialAnswer::Step& step, std::span<const float> logits) {
    const std::int32_t chosen = id_of(engine, step.chosen.bytes, answer);
    const double norm = log_sum_exp(logits);
    const float own = logits[static_cast<std::size_t>(chosen)];
    OfficialScore::Step score;
    score.text = step.chosen.bytes;
    score.logprob = own - norm;
    score.rank = std::count_if(logits.begin(), logits.end(), [&](float x) { return x > own; });
    const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
    score.best = engine.model().tokenizer.bytes(static_cast<std::int32_t>(best));
    if (std::none_of(step.top.begin(), step.top.end(),
                     [](const auto& t) { return t.logprob && *t.logprob < 0; }))
        return score;
    for (const auto& t : step.top) {
        const auto id = engine.model().tokenizer.find(t.bytes);
        if (!t.logprob || !id) continue;
        score.difference += std::fabs(logits[static_cast<std::size_t>(*id)] - norm - *t.logprob);
        ++score.compared;
    }
    if (score.compared) score.difference /= static_cast<double>(score.compared);
    return score;
}

}  // namespace

OfficialAnswer parse_official(std::string_view text, const std::string& source) {
    const json file = parse_file_json(text, source);
    if (const auto schema = text_of(file, "schema", source); schema != kSchema)
        fail("{}: schema is {}, expected '{}'", source, in_quotes(schema), kSchema);
    OfficialAnswer answer;
    answer.id = text_of(file, "id", source);
    answer.model = text_of(file, "model", source);
    answer.prompt = text_of(file, "prompt", source);
    answer.prompt_tokens = member(member(file, "usage", json::value_t::object, source), "prompt_tokens",
                                  json::value_t::number_unsigned, source)
                               .get<std::int64_t>();
    for (const auto& step : member(file, "steps", json::value_t::array, source)) {
        answer.steps.push_back({token_of(step, source), {}});
        for (const auto& t : member(step, "top_logprobs", json::value_t::array, source))
            answer.steps.back().top.push_back(token_of(t, source));
    }
    if (answer.steps.empty()) fail("{}: steps is empty", source);
    return answer;
}

std::vector<std::filesystem::path> official_files(const std::filesystem::path& folder) {
    namespace fs = std::filesystem;
    std::error_code error;
    const auto inner = folder / "official";
    const auto& place = fs::is_directory(inner, error) ? inner : folder;
    if (!fs::is_directory(place, error)) fail("{}: is no folder", folder.string());
    std::vector<fs::path> paths;
    for (const auto& entry : fs::directory_iterator(place))
        if (entry.path().filename().string().ends_with(".official.json")) paths.push_back(entry.path());
    if (paths.empty()) fail("{}: holds no *.official.json", place.string());
    std::sort(paths.begin(), paths.end());
    return paths;
}

std::vector<OfficialAnswer> read_official(const std::filesystem::path& folder) {
    std::vector<OfficialAnswer> answers;
    for (const auto& path : official_files(folder))
        answers.push_back(parse_official(read_text_file(path), path.string()));
    return answers;
}

std::int64_t OfficialScore::agreed() const {
    return std::count_if(steps.begin(), steps.end(), [](const Step& s) { return s.rank == 0; });
}

OfficialScore score_official(Engine& engine, const OfficialAnswer& answer, const Engine::Progress& progress) {
    std::vector<std::int32_t>
        official;  // looked up first: a wrong model is refused before it has read anything
    for (const auto& step : answer.steps) official.push_back(id_of(engine, step.chosen.bytes, answer));

    Conversation conversation;
    conversation.messages.push_back(text_message(Role::user, answer.prompt));
    ChatOptions chat;
    chat.thinking = false;
    chat.format = chat_format_of(engine.model().tokenizer);
    const auto prompt = engine.model().tokenizer.encode_parts(encode_prompt(conversation, chat).parts);
    OfficialScore score;
    score.id = answer.id;
    score.prompt_tokens = static_cast<std::int64_t>(prompt.size());
    score.official_prompt_tokens = answer.prompt_tokens;

    auto state = engine.new_state();
    auto logits = engine.prefill(state, prompt, progress);
    for (std::size_t i = 0; i < answer.steps.size(); ++i) {
        if (i > 0) logits = engine.step(state, std::span(official).subspan(i - 1, 1), RowsKind::decode);
        score.steps.push_back(score_step(engine, answer, answer.steps[i], logits));
    }
    return score;
}

}  // namespace cachalot
