#include "cli/launch_clients.h"

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace cachalot::cli {
namespace {

using nlohmann::ordered_json;

// What a client may ask for in one answer. Agents set this much aside when they work out how full the context
// is.
std::int64_t answer_limit(const LaunchTarget& target) {
    return std::clamp<std::int64_t>(target.context / 4, 1, 32'000);
}

// Claude Code takes what it is told in the environment, but the "env" of the user's settings takes precedence
// over that, and the settings given on the command line over both.
ClientSetup claude(const LaunchTarget& target) {
    ClientSetup setup{"claude", "npm install -g @anthropic-ai/claude-code", {}, {}, {}};
    setup.environment = {
        {"ANTHROPIC_BASE_URL", target.url}, {"ANTHROPIC_AUTH_TOKEN", target.key},
        {"ANTHROPIC_API_KEY", ""},  // or Claude Code asks which of the two it shall use
        {"CLAUDE_CODE_USE_BEDROCK", "0"},   {"CLAUDE_CODE_USE_VERTEX", "0"},
        {"CLAUDE_CODE_USE_FOUNDRY", "0"},   {"ANTHROPIC_MODEL", target.model},
    };
    for (const char* tier : {"HAIKU", "SONNET", "OPUS", "FABLE"})
        setup.environment.emplace_back(fmt::format("ANTHROPIC_DEFAULT_{}_MODEL", tier), target.model);
    const std::pair<std::string, std::string> more[] = {
        {"CLAUDE_CODE_MAX_CONTEXT_TOKENS", std::to_string(target.context)},  // else 200,000
        {"CLAUDE_CODE_MAX_OUTPUT_TOKENS", std::to_string(answer_limit(target))},
        {"CLAUDE_CODE_ATTRIBUTION_HEADER", "0"},  // a line of the system text that changes with every request
        {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"},
        {"API_TIMEOUT_MS", "3600000"},  // a long prompt takes its time on a small machine
    };
    setup.environment.insert(setup.environment.end(), std::begin(more), std::end(more));
    ordered_json settings;
    for (const auto& [name, value] : setup.environment) settings["env"][name] = value;
    const std::string path = target.folder + "/claude-settings.json";
    setup.files = {{path, settings.dump(2) + "\n"}};
    setup.arguments = {"--settings", path};
    return setup;
}

// Each -c is a line of config.toml that takes precedence over the user's. JSON strings are TOML strings, too.
ClientSetup codex(const LaunchTarget& target) {
    ClientSetup setup{"codex", "npm install -g @openai/codex", {}, {}, {}};
    setup.environment = {{"CACHALOT_API_KEY", target.key}};
    auto quoted = [](const std::string& text) { return ordered_json(text).dump(-1, ' ', true); };
    for (const auto& line : {
             fmt::format("model={}", quoted(target.model)),
             std::string("model_provider=\"cachalot\""),
             fmt::format("model_providers.cachalot={{name=\"Cachalot\",base_url={},wire_api=\"responses\","
                         "env_key=\"CACHALOT_API_KEY\"}}",
                         quoted(target.url + "/v1")),
             fmt::format("model_context_window={}", target.context),
             std::string("web_search=\"disabled\""),  // runs at OpenAI
             std::string("features.plugins=false"),   // else it looks for their catalogue at every start
             std::string("analytics.enabled=false"),
             std::string("check_for_update_on_startup=false"),
         }) {
        setup.arguments.push_back("-c");
        setup.arguments.push_back(line);
    }
    return setup;
}

ClientSetup opencode(const LaunchTarget& target) {
    ClientSetup setup{"opencode", "npm install -g opencode-ai", {}, {}, {}};
    const std::string model = fmt::format("cachalot/{}", target.model);
    ordered_json config = {
        {"model", model},
        {"small_model", model},  // titles and the like
        {"enabled_providers", {"cachalot"}},
        {"autoupdate", false},
        {"share", "disabled"},
        {"provider",
         {{"cachalot",
           {{"npm", "@ai-sdk/openai-compatible"},
            {"name", "Cachalot"},
            {"options", {{"baseURL", target.url + "/v1"}, {"apiKey", "{env:CACHALOT_API_KEY}"}}},
            {"models",
             {{target.model,
               {{"name", target.model},
                {"reasoning", true},
                {"tool_call", true},
                {"limit", {{"context", target.context}, {"output", answer_limit(target)}}}}}}}}}}}};
    setup.environment = {{"CACHALOT_API_KEY", target.key},
                         {"OPENCODE_CONFIG_CONTENT", config.dump(-1, ' ', true)},
                         {"OPENCODE_DISABLE_AUTOUPDATE", "1"},
                         {"OPENCODE_DISABLE_MODELS_FETCH", "1"}};
    return setup;
}

ClientSetup aider(const LaunchTarget& target) {
    ClientSetup setup{"aider", "python -m pip install aider-install && aider-install", {}, {}, {}};
    const std::string model = fmt::format("openai/{}", target.model);
    ordered_json metadata = {{model,
                              {{"max_tokens", answer_limit(target)},
                               {"max_input_tokens", target.context},
                               {"max_output_tokens", answer_limit(target)},
                               {"input_cost_per_token", 0},
                               {"output_cost_per_token", 0},
                               {"litellm_provider", "openai"},
                               {"mode", "chat"}}}};
    const std::string path = target.folder + "/aider-models.json";
    setup.environment = {{"OPENAI_API_BASE", target.url + "/v1"},
                         {"OPENAI_API_KEY", target.key},
                         {"LITELLM_LOCAL_MODEL_COST_MAP", "True"}};  // else fetched at every start
    setup.files = {{path, metadata.dump(2) + "\n"}};
    setup.arguments = {"--model",
                       model,
                       "--weak-model",
                       model,
                       "--editor-model",
                       model,
                       "--openai-api-base",
                       target.url + "/v1",
                       "--model-metadata-file",
                       path,
                       "--no-show-model-warnings",
                       "--no-check-update",
                       "--no-analytics"};
    return setup;
}

struct Client {
    const char* name;
    ClientSetup (*setup)(const LaunchTarget&);
};
constexpr Client kClients[] = {
    {"claude", claude}, {"codex", codex}, {"opencode", opencode}, {"aider", aider}};

std::string shell_quoted(const std::string& text) {
    constexpr std::string_view kPlain =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=,@+%";
    if (!text.empty() && text.find_first_not_of(kPlain) == std::string::npos) return text;
    std::string quoted = "'";
    for (char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return quoted + "'";
}

}  // namespace

const std::vector<std::string>& client_names() {
    static const std::vector<std::string> names = [] {
        std::vector<std::string> list;
        for (const auto& client : kClients) list.emplace_back(client.name);
        return list;
    }();
    return names;
}

ClientSetup client_setup(const std::string& client, const LaunchTarget& target) {
    const auto* found = std::find_if(std::begin(kClients), std::end(kClients),
                                     [&](const Client& c) { return c.name == client; });
    CACHALOT_CHECK(found != std::end(kClients));
    ClientSetup setup = found->setup(target);
    // A proxy for the outer world cannot reach what is on this machine.
    for (const char* name : {"NO_PROXY", "no_proxy"}) {
        const char* before = std::getenv(name);
        setup.environment.emplace_back(name,
                                       (before && *before ? before + std::string(",") : "") + target.host);
    }
    return setup;
}

std::string as_shell_script(const ClientSetup& setup, const std::string& folder,
                            const std::vector<std::string>& user_arguments) {
    std::string script;
    for (const auto& [name, value] : setup.environment)
        script += fmt::format("export {}={}\n", name, shell_quoted(value));
    if (!setup.files.empty()) script += fmt::format("mkdir -p {}\n", shell_quoted(folder));
    for (const auto& [path, content] : setup.files)
        script += fmt::format("cat > {} <<'END'\n{}END\n", shell_quoted(path), content);
    script += setup.program;
    for (const auto* list : {&setup.arguments, &user_arguments})
        for (const auto& argument : *list) script += fmt::format(" {}", shell_quoted(argument));
    return script + "\n";
}

}  // namespace cachalot::cli
