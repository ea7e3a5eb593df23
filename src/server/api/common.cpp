#include "server/api/common.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <exception>
#include <random>

#include "server/error_types.h"
#include "service/client_error.h"
#include "text/chat_json.h"
#include "text/utf8.h"

namespace cachalot::server {
namespace {

ApiError invalid(const std::string& message, std::string param) {
    return {400, "invalid_request", message, std::move(param)};
}

std::int32_t token_id(const std::string& text, const Field& bias, int vocab) {
    std::int32_t id = -1;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
    if (error != std::errc() || end != text.data() + text.size() || id < 0 || id >= vocab)
        bias.refuse(fmt::format("keys are token ids from 0 to {}", vocab - 1));
    return id;
}

// A window for penalties is not supported. Without penalties it does not matter how far they would look.
void check_penalty_window(const Field& body, const SamplingOptions& o) {
    if (o.repetition_penalty == 1 && o.presence_penalty == 0 && o.frequency_penalty == 0) return;
    for (const char* name : {"repeat_last_n", "penalty_last_n", "repetition_penalty_range"})
        if (const auto window = body[name]; window && window.integer(-1, kMaxTokensLimit) != -1)
            window.refuse("a window for penalties is not supported; leave it out or send -1");
}

}  // namespace

ordered_json parse_body(const HttpRequest& request) {
    try {
        auto body = parse_json(request.body, "the request body");
        if (!body.is_object()) fail("the request body: expected a JSON object, found {}", body.type_name());
        return body;
    } catch (const Error& e) {
        throw invalid(e.what(), {});
    }
}

SamplingOptions read_sampling(const Field& body, const ModelInfo& model) {
    auto o = model.sampling;
    auto number = [&](const char* name, float& value, double low, double high) {
        value = static_cast<float>(body[name].number_or(static_cast<double>(value), low, high));
    };
    number("temperature", o.temperature, 0, 2);
    number("top_p", o.top_p, 0, 1);
    number("min_p", o.min_p, 0, 1);
    number("repeat_penalty", o.repetition_penalty, 0.01, 100);  // llama.cpp's name
    number("repetition_penalty", o.repetition_penalty, 0.01, 100);
    number("presence_penalty", o.presence_penalty, -2, 2);
    number("frequency_penalty", o.frequency_penalty, -2, 2);
    check_penalty_window(body, o);
    // -1 is how some servers say "off"
    o.top_k =
        static_cast<int>(std::max<std::int64_t>(0, body["top_k"].integer_or(o.top_k, -1, kMaxTokensLimit)));
    const auto seed = body["seed"].integer_or(-1, INT64_MIN, INT64_MAX);
    o.seed = static_cast<std::uint64_t>(seed);
    if (seed == -1)  // which is how many clients ask for a new one
        o.seed = (std::uint64_t{std::random_device()()} << 32) | std::random_device()();
    if (auto bias = body["logit_bias"]) {
        constexpr std::size_t kMaxBiases = 4096;
        if (bias.object().size() > kMaxBiases) bias.refuse(fmt::format("at most {} entries", kMaxBiases));
        for (const auto& [key, value] : bias.object().items())
            o.logit_bias.emplace_back(token_id(key, bias, model.vocab_size),
                                      static_cast<float>(bias.member(key, value).number(-100, 100)));
    }
    return o;
}

std::optional<std::int64_t> read_token_limit(const Field& limit, std::int64_t low) {
    if (!limit) return std::nullopt;
    if (limit.is_number() && limit.json() == -1) return std::nullopt;
    return limit.integer(low, kMaxTokensLimit);
}

std::string non_empty(const Field& field) {
    if (field.string().empty()) field.refuse("must not be empty");
    return field.string();
}

int read_longest_draft(const Field& body, const ModelInfo& model) {
    for (const auto& [name, value] : body.object().items())
        if (name.starts_with("speculative") && name != "speculative.n_max" && !value.is_null() && value != 0)
            Field(value, name).refuse(
                "not supported: how sure a drafted token must be is measured; draft and draft_max limit drafts");
    std::int64_t most = kLongestDraft;
    for (const char* name : {"draft_max", "speculative.n_max"})
        most = std::min(most, body[name].integer_or(most, 0, kMaxTokensLimit));
    const Field draft = body["draft"];
    if (!draft || (draft.is_boolean() && draft.boolean())) return static_cast<int>(most);
    const std::string mode = draft.is_boolean() ? "off" : draft.string();
    if (std::ranges::find(kDraftModes, mode) == std::end(kDraftModes))
        draft.refuse(fmt::format("expected true, false or one of {}", fmt::join(kDraftModes, ", ")));
    if (mode == "off") return 0;
    if (mode != "auto" && mode != model.draft)
        draft.refuse(
            model.draft == "off"
                ? std::string("this server makes no drafts; it was started with --draft off")
                : fmt::format("the drafts of this server come from {}; auto asks for them", model.draft));
    return static_cast<int>(most);
}

Priority read_priority(const Field& body) {
    if (const auto number = body["priority"].integer_or(0, INT32_MIN, INT32_MAX); number != 0)
        return number < 0 ? Priority::interactive : Priority::background;
    const std::string tier = body["service_tier"].string_or("");
    return tier == "priority" ? Priority::interactive
           : tier == "flex"   ? Priority::background
                              : Priority::normal;
}

std::string read_space(const Field& body, const HttpRequest& http) {
    const auto salt = body["cache_salt"];
    return salt ? http.tenant + '\n' + salt.string() : http.tenant;  // no tenant's name has a line break
}

std::vector<Message> read_messages(const Field& messages, ChatFormat format) {
    try {
        if (!messages.is_array()) messages.wrong("an array");
        auto read = conversation_from_json(messages.json(), format).messages;
        if (read.empty()) fail("messages: at least one message is needed");
        return read;
    } catch (const Error& e) {
        throw invalid(e.what(), blamed_field(e.what()));
    }
}

ApiError reading_error(const ResponseWriter& writer) {
    return client_error(std::current_exception(), Fault::request, writer.log(), writer.request_id());
}

ordered_json openai_error_json(const ApiError& error) {
    return {{"error",
             {{"message", error.what()},
              {"type", error_types(error.status).openai},
              {"param", error.param.empty() ? ordered_json() : ordered_json(error.param)},
              {"code", error.code}}}};
}

std::string dump(const ordered_json& json) {
    return json.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

double finite(double logprob) { return std::max(logprob, -9999.0); }

ordered_json token_json(const TokenLogprob& token, const std::string& bytes) {
    ordered_json list = ordered_json::array();
    for (const char byte : bytes) list.push_back(static_cast<unsigned char>(byte));
    return {{"token", repair_utf8(bytes)}, {"bytes", std::move(list)}, {"logprob", finite(token.logprob)}};
}

void respond_json(ResponseWriter& writer, const ordered_json& body, int status) {
    writer.respond(status, "application/json", dump(body));
}

void respond_error(ResponseWriter& writer, const ApiError& error, const ordered_json& body) {
    ResponseWriter::Headers headers;
    if (error.retry_after > 0) headers.emplace_back("retry-after", std::to_string(error.retry_after));
    writer.respond(error.status, "application/json", dump(body), headers);
}

std::string sse_data(const ordered_json& json) { return "data: " + dump(json) + "\n\n"; }

std::string sse_event(std::string_view event, const ordered_json& json) {
    return fmt::format("event: {}\ndata: {}\n\n", event, dump(json));
}

std::int64_t unix_time() {
    auto now = std::chrono::system_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::seconds>(now).count();
}

Endpoint with_errors(std::function<ordered_json(const ApiError&)> error_body, Endpoint endpoint) {
    return [=](const HttpRequest& request, std::shared_ptr<ResponseWriter> writer) {
        try {
            endpoint(request, writer);
        } catch (...) {
            const ApiError error = reading_error(*writer);
            respond_error(*writer, error, error_body(error));
        }
    };
}

}  // namespace cachalot::server
