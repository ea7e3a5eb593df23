// cachalot launch, with programs in place of the real clients that write down how they were called.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "file/text_file.h"
#include "server/http/client.h"
#include "support/tiny_release.h"

namespace cachalot {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class Launch : public testing::Test {
  protected:
    void SetUp() override {
        std::filesystem::create_directory(path("bin"));
        std::filesystem::create_directory(path("tmp"));
        std::ofstream(path("script.json"))
            << R"({"model": "scripted-v4", "context": 65536, "default": {"content": "Hello!"}})";
        for (const char* name : {"claude", "codex", "opencode", "aider"}) client(name);
    }

    // A client that records its arguments, environment and configuration, then does `more`.
    void client(const std::string& name, const std::string& more = "") {
        const std::string file = path("bin/" + name);
        std::ofstream(file) << fmt::format(
            "#!/bin/sh\n"
            "for a in \"$@\"; do printf '%s\\n' \"$a\"; done >'{0}/arguments'\n"
            "env >'{0}/environment'\n"
            "for a in \"$@\"; do case $a in '{0}'/tmp/*.json) cat \"$a\" >'{0}/config';; esac; done\n"
            "{1}\n",
            path(""), more);
        std::filesystem::permissions(file, std::filesystem::perms::owner_all);
    }

    // `launch ARGUMENTS` as a shell runs it, with nothing but the fakes' folder before the PATH.
    std::string command(const std::string& arguments, const std::string& environment = "") const {
        return fmt::format(
            "cd '{0}' && exec env -u CACHALOT_API_KEY PATH='{0}/bin':/usr/bin:/bin TMPDIR='{0}/tmp' "
            "HOME='{0}' "
            "XDG_CONFIG_HOME= XDG_CACHE_HOME= {2} '{1}' launch {3} >'{0}/stdout' 2>'{0}/stderr'",
            path(""), CACHALOT_PROGRAM, environment, arguments);
    }
    int launch(const std::string& arguments, const std::string& environment = "") {
        const int status = std::system(command(arguments, environment).c_str());
        err = read_text_file(path("stderr"));
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }
    int launch_own(const std::string& client_and_more, const std::string& after = "",
                   const std::string& environment = "") {
        return launch(
            fmt::format("{} --port {} --scripted '{}' {}", client_and_more, port, path("script.json"), after),
            environment);
    }

    std::vector<std::string> lines(const std::string& name) const {
        std::istringstream text(read_text_file(path(name)));
        std::vector<std::string> all;
        for (std::string line; std::getline(text, line);) all.push_back(line);
        return all;
    }
    std::map<std::string, std::string> environment() const {
        std::map<std::string, std::string> all;
        for (const auto& line : lines("environment"))
            if (auto equals = line.find('='); equals != std::string::npos)
                all[line.substr(0, equals)] = line.substr(equals + 1);
        return all;
    }

    // The server has ended, and nothing is left of it.
    void expect_cleaned_up() const {
        EXPECT_FALSE(server::http_get("127.0.0.1", port, "/health")) << err;
        EXPECT_TRUE(std::filesystem::is_empty(path("tmp")));
    }
    std::string url() const { return fmt::format("http://127.0.0.1:{}", port); }
    std::string path(const std::string& name) const {
        return name.empty() ? folder.path().string() : (folder.path() / name).string();
    }

    test::TemporaryFolder folder;
    const std::uint16_t port = server::free_port();
    std::string err;
};

TEST_F(Launch, ClaudeGetsSettingsThatWinOverTheUsersOwn) {
    EXPECT_EQ(launch_own("claude", "-- -p 'Say \"hi\".' --model=other -- last", "ANTHROPIC_API_KEY=real"), 0)
        << err;
    auto arguments = lines("arguments");
    ASSERT_EQ(arguments.size(), 7u);
    EXPECT_EQ(arguments[0], "--settings");
    EXPECT_THAT(arguments[1], HasSubstr(path("tmp")));
    arguments.erase(arguments.begin(), arguments.begin() + 2);
    EXPECT_THAT(arguments, ElementsAre("-p", "Say \"hi\".", "--model=other", "--", "last"));
    auto env = environment();
    EXPECT_EQ(env["ANTHROPIC_BASE_URL"], url());
    EXPECT_EQ(env["ANTHROPIC_AUTH_TOKEN"], "none");
    EXPECT_EQ(env["ANTHROPIC_API_KEY"], "");
    EXPECT_EQ(env["ANTHROPIC_MODEL"], "scripted-v4");
    EXPECT_EQ(env["CLAUDE_CODE_MAX_CONTEXT_TOKENS"], "65536");
    EXPECT_EQ(env["CLAUDE_CODE_MAX_OUTPUT_TOKENS"], "16384");
    auto settings = json::parse(read_text_file(path("config")));
    for (const auto& [name, value] : settings["env"].items()) EXPECT_EQ(env[name], value) << name;
    expect_cleaned_up();
}

TEST_F(Launch, CodexGetsItsConfigurationAsArguments) {
    EXPECT_EQ(launch_own("codex", "--alias 'my \"v4\"' -- exec hello"), 0) << err;
    auto arguments = lines("arguments");
    EXPECT_THAT(arguments, Contains(R"(model="my \"v4\"")"));
    EXPECT_THAT(arguments, Contains("model_provider=\"cachalot\""));
    EXPECT_THAT(arguments, Contains("model_context_window=65536"));
    EXPECT_THAT(arguments, Contains(HasSubstr("base_url=\"" + url() + "/v1\",wire_api=\"responses\"")));
    EXPECT_EQ(arguments[arguments.size() - 2], "exec");
    EXPECT_EQ(arguments.back(), "hello");
    EXPECT_EQ(environment()["CACHALOT_API_KEY"], "none");
    expect_cleaned_up();
}

TEST_F(Launch, OpencodeGetsItsConfigurationInTheEnvironment) {
    EXPECT_EQ(launch_own("opencode", "-- run hello"), 0) << err;
    EXPECT_THAT(lines("arguments"), ElementsAre("run", "hello"));
    auto config = json::parse(environment()["OPENCODE_CONFIG_CONTENT"]);
    EXPECT_EQ(config["model"], "cachalot/scripted-v4");
    EXPECT_EQ(config["enabled_providers"], json({"cachalot"}));
    auto provider = config["provider"]["cachalot"];
    EXPECT_EQ(provider["options"]["baseURL"], url() + "/v1");
    EXPECT_EQ(provider["models"]["scripted-v4"]["limit"], json({{"context", 65536}, {"output", 16384}}));
    expect_cleaned_up();
}

TEST_F(Launch, AiderGetsAFileAboutTheModel) {
    EXPECT_EQ(launch_own("aider", "-- --message hello"), 0) << err;
    auto arguments = lines("arguments");
    EXPECT_THAT(arguments, Contains("openai/scripted-v4"));
    EXPECT_THAT(arguments, Contains("--no-analytics"));
    EXPECT_EQ(arguments.back(), "hello");
    EXPECT_EQ(environment()["OPENAI_API_BASE"], url() + "/v1");
    auto model = json::parse(read_text_file(path("config")))["openai/scripted-v4"];
    EXPECT_EQ(model["max_input_tokens"], 65536);
    expect_cleaned_up();
}

TEST_F(Launch, TheKeyReachesServerAndClientButNoCommandLine) {
    client("claude", fmt::format("cat /proc/[0-9]*/cmdline | tr '\\0' '\\n' >'{}'", path("visible")));
    EXPECT_EQ(launch_own("claude", "", "CACHALOT_API_KEY=me=secret-1"), 0) << err;
    EXPECT_EQ(environment()["ANTHROPIC_AUTH_TOKEN"], "secret-1");
    EXPECT_THAT(read_text_file(path("visible")), HasSubstr("--drain-timeout"));  // the server's is among them
    EXPECT_THAT(read_text_file(path("visible")), Not(HasSubstr("secret-1")));
    expect_cleaned_up();
}

// All that say how a server runs a model.
constexpr const char* kOptionsOfServer[] = {
    "--model=m.gguf",     "--threads=3",         "--numa=off",
    "--ctx=5000",         "--chunk=64",          "--exact=true",
    "--kv=f32",           "--expert-cache=25%",  "--expert-pack=a b",
    "--expert-pack=c",    "--expert-heat=h.bin", "--route-trace=t.bin",
    "--alias=other name",
};

TEST_F(Launch, EveryOptionOfTheServerIsPassedOn) {
    client("codex", fmt::format("cat /proc/[0-9]*/cmdline | tr '\\0' '\\n' >'{}'", path("visible")));
    std::string options;
    for (const char* option : kOptionsOfServer) options += fmt::format("'{}' ", option);
    EXPECT_EQ(launch_own("codex", options), 0) << err;
    const auto visible = lines("visible");
    // What was given is seen as an argument of launch itself, too.
    for (const char* option : kOptionsOfServer)
        EXPECT_GE(std::count(visible.begin(), visible.end(), option), 2) << option;
    expect_cleaned_up();
}

TEST_F(Launch, TheClientsExitStatusIsOurs) {
    client("codex", "exit 7");
    EXPECT_EQ(launch_own("codex"), 7) << err;
    client("codex", "kill -9 $$");
    EXPECT_EQ(launch_own("codex"), 137) << err;
    expect_cleaned_up();
}

TEST_F(Launch, ProxiesAreForTheOuterWorld) {
    EXPECT_EQ(launch_own("codex", "", "NO_PROXY=intranet"), 0) << err;
    EXPECT_EQ(environment()["NO_PROXY"], "intranet,127.0.0.1");
    EXPECT_EQ(environment()["no_proxy"], "127.0.0.1");
}

// Runs `body` while `cachalot serve` answers at `port`.
template <class Body>
void while_serving(const std::string& script, std::uint16_t port, const std::string& key, Body body) {
    const pid_t id = fork();
    if (id == 0) {
        if (!key.empty()) setenv("CACHALOT_API_KEY", key.c_str(), 1);
        const std::string at = std::to_string(port);
        execl(CACHALOT_PROGRAM, CACHALOT_PROGRAM, "serve", "--scripted", script.c_str(), "--port", at.c_str(),
              nullptr);
        _exit(127);
    }
    for (int i = 0; i < 500; ++i) {
        auto answer = server::http_get("127.0.0.1", port, "/ready");
        if (answer && answer->status == 200) break;
        std::this_thread::sleep_for(20ms);
    }
    body();
    EXPECT_TRUE(server::http_get("127.0.0.1", port, "/health"));  // left running
    kill(id, SIGTERM);
    waitpid(id, nullptr, 0);
}

TEST_F(Launch, ARunningServerIsUsedAndLeftAlone) {
    while_serving(path("script.json"), port, "", [&] {
        EXPECT_EQ(launch(fmt::format("codex --port {} -- hello", port)), 0) << err;
        EXPECT_EQ(err, "");
        EXPECT_THAT(lines("arguments"), Contains("model=\"scripted-v4\""));
        EXPECT_EQ(launch_own("codex"), 1);
        EXPECT_THAT(err, HasSubstr("already running"));
        EXPECT_THAT(err, HasSubstr("--scripted"));
        for (const std::string option : kOptionsOfServer)
            for (const char* print : {"", "--print"}) {
                EXPECT_EQ(launch(fmt::format("codex --port {} {} '{}'", port, print, option)), 1) << option;
                EXPECT_THAT(err, HasSubstr("leave out " + option.substr(0, option.find('=')) + ","));
            }
    });
}

TEST_F(Launch, ARunningServersKeyIsNeeded) {
    while_serving(path("script.json"), port, "secret-2", [&] {
        EXPECT_EQ(launch(fmt::format("codex --port {}", port)), 1);
        EXPECT_THAT(err, HasSubstr("API key"));
        EXPECT_EQ(launch(fmt::format("codex --port {} --api-key secret-2", port)), 0) << err;
        EXPECT_EQ(environment()["CACHALOT_API_KEY"], "secret-2");
    });
}

TEST_F(Launch, PrintsAScriptThatDoesTheSame) {
    while_serving(path("script.json"), port, "", [&] {
        EXPECT_EQ(launch(fmt::format("aider --port {} --print -- --message \"it's\"", port)), 0) << err;
        EXPECT_FALSE(std::filesystem::exists(path("arguments")));
        std::filesystem::copy(path("stdout"), path("printed"));
        const std::string run = fmt::format("PATH='{0}/bin':/usr/bin:/bin sh '{0}/printed'", path(""));
        EXPECT_EQ(std::system(run.c_str()), 0);
        EXPECT_EQ(environment()["OPENAI_API_BASE"], url() + "/v1");
        EXPECT_EQ(lines("arguments").back(), "it's");
        auto model = json::parse(read_text_file(path(".config/cachalot/aider-models.json")));
        EXPECT_TRUE(model.contains("openai/scripted-v4"));
    });
    EXPECT_EQ(launch(fmt::format("aider --port {} --print", port)), 1);
    EXPECT_THAT(err, HasSubstr("cachalot serve"));
}

TEST_F(Launch, WhatIsMissingIsSaid) {
    std::filesystem::remove(path("bin/codex"));
    EXPECT_EQ(launch_own("codex"), 1);
    EXPECT_THAT(err, HasSubstr("codex is not installed"));
    EXPECT_THAT(err, HasSubstr("npm install -g @openai/codex"));
    expect_cleaned_up();
    EXPECT_EQ(launch("emacs"), 2);
    EXPECT_EQ(launch(""), 2);
}

TEST_F(Launch, AServerThatDoesNotStartLeavesItsLog) {
    EXPECT_EQ(launch(fmt::format("codex --port {} --scripted /nonexistent.json", port)), 1);
    EXPECT_THAT(err, HasSubstr("/nonexistent.json"));
    auto begin = err.find("its log: ") + 9;
    EXPECT_THAT(read_text_file(err.substr(begin, err.find(')', begin) - begin)), HasSubstr("nonexistent"));
    EXPECT_FALSE(std::filesystem::exists(path("arguments")));
}

class LaunchSignals : public Launch {
  protected:
    // Starts a launch in a process group of its own and returns when its client is running.
    pid_t start() {
        const std::string line =
            command(fmt::format("codex --port {} --scripted '{}'", port, path("script.json")));
        const pid_t id = fork();
        if (id == 0) {
            setpgid(0, 0);
            execl("/bin/sh", "sh", "-c", line.c_str(), nullptr);
            _exit(127);
        }
        for (int i = 0; i < 1000 && !std::filesystem::exists(path("running")); ++i)
            std::this_thread::sleep_for(10ms);
        return id;
    }
    int status_of(pid_t id) {
        int status = 0;
        waitpid(id, &status, 0);
        err = read_text_file(path("stderr"));
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }
};

// A terminal sends Ctrl-C to all that run in it; only the client is to decide what it means.
TEST_F(LaunchSignals, CtrlCBelongsToTheClient) {
    client("codex", fmt::format("trap 'exit 5' INT; touch {}/running\n"
                                "n=0; while [ $n -lt 400 ]; do sleep 0.05; n=$((n+1)); done",
                                path("")));
    const pid_t id = start();
    kill(-id, SIGINT);
    EXPECT_EQ(status_of(id), 5) << err;
    expect_cleaned_up();
}

TEST_F(LaunchSignals, SigtermEndsClientAndServer) {
    client("codex", fmt::format("touch {}/running; exec sleep 30", path("")));
    const pid_t id = start();
    kill(id, SIGTERM);
    EXPECT_EQ(status_of(id), 128 + SIGTERM) << err;
    expect_cleaned_up();
}

TEST_F(LaunchSignals, SigtermEndsAClientThatIsDeafToIt) {
    client("codex", fmt::format("trap '' TERM; touch {}/running\n"
                                "n=0; while [ $n -lt 400 ]; do sleep 0.05; n=$((n+1)); done",
                                path("")));
    const pid_t id = start();
    kill(id, SIGTERM);
    EXPECT_EQ(status_of(id), 128 + SIGKILL) << err;
    expect_cleaned_up();
}

}  // namespace
}  // namespace cachalot
