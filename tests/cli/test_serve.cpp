// `cachalot serve` as a process: how it starts, and how it stops in each phase.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "file/text_file.h"
#include "server/http_test.h"
#include "support/tiny_release.h"

extern char** environ;

namespace cachalot::server::test {
namespace {

using testing::HasSubstr;
using testing::Not;

class Serve : public testing::Test {
  protected:
    // A script whose answers take `delay` ms a word.
    void start(std::vector<std::string> arguments, int delay = 0) {
        std::ofstream(path("script.json"))
            << nlohmann::json{{"default",
                               {{"content", "one two three four five six seven eight nine ten"},
                                {"delay_ms_per_token", delay}}}};
        arguments.insert(arguments.begin(), {"--scripted", path("script.json")});
        start_with_model(std::move(arguments));
    }

    void start_with_model(std::vector<std::string> arguments) {
        arguments.insert(arguments.begin(),
                         {CACHALOT_PROGRAM, "serve", "--port", "0", "--audit-log", path("audit")});
        std::vector<char*> argv;
        for (auto& argument : arguments) argv.push_back(argument.data());
        argv.push_back(nullptr);
        posix_spawn_file_actions_t actions;
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_addopen(&actions, 2, path("stderr").c_str(), O_CREAT | O_WRONLY | O_TRUNC,
                                         0600);
        ASSERT_EQ(posix_spawn(&pid_, CACHALOT_PROGRAM, &actions, nullptr, argv.data(), environ), 0);
        posix_spawn_file_actions_destroy(&actions);
        ASSERT_TRUE(eventually([&] { return log().find(" at http") != std::string::npos; })) << log();
        auto text = log();
        text.resize(text.find('\n', text.find(" at http")));
        port_ = static_cast<std::uint16_t>(std::stoi(text.substr(text.rfind(':') + 1)));
    }
    void TearDown() override {
        if (pid_ > 0) {
            ::kill(pid_, SIGKILL);
            waitpid(pid_, nullptr, 0);
        }
    }

    void signal(int number) { ::kill(pid_, number); }

    // The exit status, -1 if it still runs after some seconds, or minus the signal that ended it.
    int exit_status() {
        int status = 0;
        if (!eventually([&] { return waitpid(pid_, &status, WNOHANG) == pid_; })) return -1;
        pid_ = 0;
        return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    }

    // A client whose stream has begun.
    Client streaming() {
        Client client(port_);
        client.send(
            post("/v1/chat/completions", R"({"messages":[{"role":"user","content":"hi"}],"stream":true})"));
        std::string seen;
        while (seen.find("one") == std::string::npos)
            if (auto chunk = client.read_chunk_after_header(); chunk)
                seen += *chunk;
            else
                break;
        return client;
    }

    std::string rest(Client& client) {
        std::string text;
        while (auto chunk = client.read_chunk()) {
            if (chunk->empty()) return text + "(end)";
            text += *chunk;
        }
        return text + "(cut)";
    }

    std::string log() const { return read_text_file(path("stderr")); }
    std::string path(const std::string& name) const { return (folder_.path() / name).string(); }

    cachalot::test::TemporaryFolder folder_;
    pid_t pid_ = 0;
    std::uint16_t port_ = 0;
};

TEST_F(Serve, AnIdleServerStopsAtOnceOnEachSignal) {
    for (int number : {SIGTERM, SIGINT, SIGHUP}) {
        start({});
        signal(number);
        EXPECT_EQ(exit_status(), 0) << log();
    }
}

TEST_F(Serve, TermLetsTheAnswerEnd) {
    start({}, 20);
    auto client = streaming();
    signal(SIGTERM);
    EXPECT_THAT(rest(client), HasSubstr("[DONE]"));
    EXPECT_EQ(exit_status(), 0) << log();
    EXPECT_FALSE(Client(port_).connected());
    auto line = nlohmann::json::parse(read_text_file(path("audit")));
    EXPECT_EQ(line["status"], 200);
    EXPECT_EQ(line["model"], "scripted");
    EXPECT_GT(line["prompt_tokens"], 0);
    EXPECT_GE(line["completion_tokens"], 10);
}

TEST_F(Serve, TheDeadlineCutsTheAnswer) {
    start({"--drain-timeout", "0.1"}, 600);
    auto client = streaming();
    auto begin = Clock::now();
    signal(SIGTERM);
    EXPECT_THAT(rest(client), testing::Not(HasSubstr("ten")));
    EXPECT_EQ(exit_status(), 0) << log();
    EXPECT_LT(Clock::now() - begin, 3s);
}

TEST_F(Serve, ASecondSignalEndsItAtOnce) {
    start({}, 600);
    auto client = streaming();
    signal(SIGTERM);
    ASSERT_TRUE(eventually([&] { return log().find("stopping") != std::string::npos; }));
    signal(SIGTERM);
    EXPECT_EQ(exit_status(), 128 + SIGTERM);
}

// The most memory that the process has had, in MiB.
std::size_t peak_memory(pid_t pid) {
    const std::string status = read_text_input(fmt::format("/proc/{}/status", pid));
    return std::stoul(status.substr(status.find("VmHWM:") + 6)) >> 10;
}

TEST_F(Serve, TwoHundredStreamsOfTheModelGetTheirOwnText) {
    start_with_model({"-m", CACHALOT_MODELS "/nano/nano.gguf", "--kv-dir", "off"});
    std::vector<Client> clients;
    for (int i = 0; i < 200; ++i) {
        clients.emplace_back(port_);
        clients.back().send(post(
            "/v1/completions",
            fmt::format(R"({{"prompt":"The number {} is","echo":true,"max_tokens":4,"stream":true}})", i)));
    }
    for (int i = 0; i < 200; ++i) {
        const Response answer = clients[static_cast<std::size_t>(i)].response();
        EXPECT_EQ(answer.status, 200);
        EXPECT_TRUE(answer.complete);
        EXPECT_THAT(answer.body, HasSubstr(fmt::format("\"The number {} is\"", i)));
        EXPECT_THAT(answer.body, HasSubstr("[DONE]"));
    }
    EXPECT_LT(peak_memory(pid_), 500u);
    signal(SIGTERM);
    EXPECT_EQ(exit_status(), 0);
}

TEST_F(Serve, AConversationSurvivesTheServer) {
    const std::vector<std::string> arguments = {"-m", CACHALOT_MODELS "/nano/nano.gguf", "--kv-dir",
                                                path("kv")};
    nlohmann::json body = {{"messages", {{{"role", "user"}, {"content", "What is the capital of France?"}}}},
                           {"temperature", 0},
                           {"max_tokens", 24},
                           {"thinking", {{"type", "disabled"}}}};
    auto ask = [&] {
        Client client(port_);
        client.send(post("/v1/chat/completions", body.dump()));
        return nlohmann::json::parse(client.response().body);
    };
    auto metrics = [&] {
        Client client(port_);
        client.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
        return client.response().body;
    };
    start_with_model(arguments);
    auto first = ask();
    body["messages"].push_back(first["choices"][0]["message"]);
    body["messages"].push_back({{"role", "user"}, {"content", "And of Italy?"}});
    auto snapshots_written = [&] {
        const auto text = metrics();
        const auto at = text.find("cachalot_kv_disk_written_total{");
        return at != std::string::npos && text[text.find("} ", at) + 2] != '0';
    };
    ASSERT_TRUE(eventually(snapshots_written));
    signal(SIGTERM);
    EXPECT_EQ(exit_status(), 0);

    start_with_model(arguments);
    const auto second = ask();
    EXPECT_GE(second["usage"]["prompt_tokens_details"]["cached_tokens"], first["usage"]["prompt_tokens"]);
    EXPECT_THAT(metrics(), HasSubstr("tier=\"disk\""));
    // Another server does without the folder, says so, and gives the same answer.
    const pid_t with_disk = std::exchange(pid_, 0);
    start_with_model(arguments);
    EXPECT_THAT(log(), HasSubstr("not kept on disk"));
    EXPECT_THAT(log(), HasSubstr("another process is using it"));
    const auto fresh = ask();
    EXPECT_EQ(fresh["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
    EXPECT_EQ(fresh["choices"][0]["message"], second["choices"][0]["message"]);

    // Beside the servers one can look, but not remove.
    auto cache = [&](const std::string& what) {
        return std::system(fmt::format("'{}' cache {} --kv-dir '{}' >'{}' 2>'{}'", CACHALOT_PROGRAM, what,
                                       path("kv"), path("stdout"), path("stderr2"))
                               .c_str());
    };
    EXPECT_EQ(cache("stat --json"), 0);
    auto stat = nlohmann::json::parse(read_text_file(path("stdout")));
    EXPECT_TRUE(stat["in_use"]);
    EXPECT_GE(stat["prefixes"], 2);
    EXPECT_EQ(cache("ls --json"), 0);
    EXPECT_EQ(nlohmann::json::parse(read_text_file(path("stdout"))).size(), stat["prefixes"]);
    EXPECT_NE(cache("rm"), 0);
    EXPECT_THAT(read_text_file(path("stderr2")), HasSubstr("another process is using it"));
    ::kill(with_disk, SIGKILL);
    waitpid(with_disk, nullptr, 0);
    EXPECT_EQ(cache("ls"), 0);
    EXPECT_THAT(read_text_file(path("stdout")), HasSubstr("nano"));
    EXPECT_EQ(cache("rm"), 0);
    EXPECT_EQ(cache("stat --json"), 0);
    EXPECT_EQ(nlohmann::json::parse(read_text_file(path("stdout")))["bytes"], 0);
    EXPECT_EQ(cache("ls"), 0);
    EXPECT_EQ(read_text_file(path("stdout")), "");
}

// What `run` and `chat` print is what the server answers to the same question with the same seed.
TEST_F(Serve, RunChatAndServeSayTheSame) {
    start_with_model({"-m", CACHALOT_MODELS "/nano/nano.gguf", "--kv-dir", "off", "--ctx", "2048"});
    auto output = [&](const std::string& arguments, const std::string& input) {
        std::ofstream(path("stdin")) << input;
        EXPECT_EQ(std::system(fmt::format("XDG_CACHE_HOME='{}' '{}' {} -m '{}' --ctx 2048 <'{}' >'{}' 2>'{}'",
                                          path("cache"), CACHALOT_PROGRAM, arguments,
                                          CACHALOT_MODELS "/nano/nano.gguf", path("stdin"), path("stdout"),
                                          path("stderr2"))
                                  .c_str()),
                  0);
        return read_text_file(path("stdout"));
    };
    auto trimmed = [](std::string text) {
        while (!text.empty() && text.back() == '\n') text.pop_back();
        return text;
    };
    int seed = 0;
    for (const char* question : {"Write a story about the sea.", "What is the weather in Oslo?", "1 + 2 = ?"})
        for (const char* think : {"off", "on", "max"})
            for (const char* stop : {"", "the"}) {
                ++seed;
                nlohmann::json body = {{"messages", {{{"role", "user"}, {"content", question}}}},
                                       {"temperature", 1.5},
                                       {"seed", seed},
                                       {"max_tokens", 40}};
                if (std::string(think) == "off")
                    body["thinking"]["type"] = "disabled";
                else
                    body["reasoning_effort"] = std::string(think) == "on" ? "low" : think;
                if (*stop) body["stop"] = stop;
                Client client(port_);
                client.send(post("/v1/chat/completions", body.dump()));
                const auto served = nlohmann::json::parse(client.response().body)["choices"][0]["message"];
                auto options = fmt::format("--temp 1.5 --seed {} -n 40 --think {}", seed, think);
                if (*stop) options += fmt::format(" --stop '{}'", stop);
                const auto printed = nlohmann::json::parse(output("run --json " + options, question));
                const auto text = [](const nlohmann::json& value) {
                    return value.is_string() ? value.get<std::string>() : std::string();
                };
                EXPECT_EQ(text(printed["text"]), text(served["content"])) << options;
                EXPECT_EQ(text(printed["reasoning"]),
                          text(served.value("reasoning_content", nlohmann::json())))
                    << options;
                const auto talked = output("chat " + options, std::string(question) + "\n");
                const auto content = trimmed(text(served["content"]));
                EXPECT_THAT(trimmed(talked), testing::EndsWith(content)) << options;
            }
}

// Who says nothing of sampling gets what the model's files recommend, and without a word of theirs V4.1's
// own: the same text as who asks for it, with the same seed, and another than without.
TEST_F(Serve, SamplesAsTheModelRecommends) {
    struct Case {
        const char* config;  // generation_config.json
        double temperature, top_p;
    };
    for (const auto& [config, temperature, top_p] :
         {Case{R"({"temperature": 0.7, "top_p": 0.4})", 0.7, 0.4}, Case{"{}", 1.0, 0.95}}) {
        const auto model = path("model");
        std::filesystem::remove_all(model);
        std::filesystem::copy(CACHALOT_TEST_DATA "/tiny41", model);
        std::ofstream(model + "/generation_config.json") << config;
        start_with_model({"-m", model, "--kv-dir", "off", "--ctx", "512"});
        const nlohmann::json asked = {{"temperature", temperature}, {"top_p", top_p}},
                             plain = {{"temperature", 1.0}, {"top_p", 1.0}};
        const auto say = [&](const char* target, const char* field, const char* limit, nlohmann::json body) {
            body[field] = nlohmann::json::array({{{"role", "user"}, {"content", "Hello"}}});
            body[limit] = 48;
            body["seed"] = 3;
            body["thinking"] = {{"type", "disabled"}};
            Client client(port_);
            client.send(post(target, body.dump()));
            const auto answer = nlohmann::json::parse(client.response().body);
            const auto& message = answer.contains("choices")   ? answer["choices"][0]["message"]["content"]
                                  : answer.contains("content") ? answer["content"][0]["text"]
                                                               : answer["output"][0]["content"][0]["text"];
            EXPECT_GT(message.get<std::string>().size(), 20u);
            return message.get<std::string>();
        };
        std::string served;
        for (const auto& [target, field, limit] :
             {std::tuple("/v1/chat/completions", "messages", "max_tokens"),
              std::tuple("/v1/responses", "input", "max_output_tokens"),
              std::tuple("/v1/messages", "messages", "max_tokens")}) {
            served = say(target, field, limit, nlohmann::json::object());
            EXPECT_EQ(served, say(target, field, limit, asked)) << target << config;
            EXPECT_NE(served, say(target, field, limit, plain)) << target << config;
        }
        for (const char* command : {"run", "chat"}) {
            std::ofstream(path("stdin")) << (command == std::string("run") ? "Hello" : "Hello\n");
            const auto line = fmt::format(
                "XDG_CACHE_HOME='{}' '{}' {} -m '{}' --ctx 512 --seed 3 -n 48 --think off <'{}' >'{}' 2>'{}'",
                path("cache"), CACHALOT_PROGRAM, command, model, path("stdin"), path("stdout"),
                path("stderr2"));
            ASSERT_EQ(std::system(line.c_str()), 0) << read_text_file(path("stderr2"));
            EXPECT_THAT(read_text_file(path("stdout")), HasSubstr(served)) << command << config;
        }
        signal(SIGTERM);
        EXPECT_EQ(exit_status(), 0);
    }
}

// Everything that happens is in the file, and nothing of what users say, nor keys.
TEST_F(Serve, LogsToAFileForItsOwner) {
    start({"--log-file", path("log"), "--log-json", "--log-level", "trace", "--api-key", "me=sk-valid-123"});
    EXPECT_THAT(log(), testing::StartsWith("cachalot: serving scripted at http://127.0.0.1:"));
    struct stat status {};
    ASSERT_EQ(::stat(path("log").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600u);
    const std::string body = R"({"messages":[{"role":"user","content":"private words"}]})";
    for (const char* key : {"authorization: Bearer sk-valid-123\r\n", "x-api-key: sk-wrong-456\r\n", ""}) {
        Client client(port_);
        client.send(post("/v1/chat/completions?api_key=sk-query-789", body, key));
        client.response();
    }
    Client leaves(port_);
    leaves.send(post("/v1/chat/completions", body, "authorization: Bearer sk-valid-123\r\n"));
    leaves.reset();
    std::filesystem::rename(path("log"), path("log.1"));
    signal(SIGTERM);
    EXPECT_EQ(exit_status(), 0);
    const std::string first = read_text_file(path("log.1")), second = read_text_file(path("log"));
    EXPECT_THAT(first, HasSubstr("\"message\":\"serving scripted at http"));
    EXPECT_THAT(second, HasSubstr("\"message\":\"stopping; running answers have 30 s\""));
    for (const auto& text : {first, second, log()})
        for (const char* secret : {"sk-", "private words"}) EXPECT_THAT(text, Not(HasSubstr(secret)));
    std::istringstream lines(first + second);
    for (std::string line; std::getline(lines, line);) EXPECT_TRUE(nlohmann::json::accept(line)) << line;
}

// A script's is "scripted" unless it says otherwise.
TEST_F(Serve, TheModelHasOneNameForClientsLogAndMetrics) {
    const std::pair<std::vector<std::string>, std::string> cases[] = {
        {{}, "scripted"},
        {{"--alias", "mine"}, "mine"},
        {{"--scripted", path("named.json")}, "named"},
        {{"--scripted", path("named.json"), "--alias", "mine"}, "mine"},
    };
    std::ofstream(path("named.json")) << R"({"model": "named"})";
    std::ofstream(path("plain.json")) << "{}";
    for (auto [arguments, name] : cases) {
        if (arguments.empty() || arguments[0] != "--scripted")
            arguments.insert(arguments.begin(), {"--scripted", path("plain.json")});
        start_with_model(std::move(arguments));
        EXPECT_THAT(log(), HasSubstr(fmt::format("serving {} at http", name)));
        Client client(port_);
        client.send(get("/v1/models"));
        EXPECT_EQ(nlohmann::json::parse(client.response().body)["data"][0]["id"], name);
        Client other(port_);
        other.send(get("/metrics"));
        EXPECT_THAT(other.response().body, HasSubstr(fmt::format("model_name=\"{}\"", name)));
        signal(SIGTERM);
        EXPECT_EQ(exit_status(), 0);
    }
}

TEST_F(Serve, AnswersWhileItsLogCannotBeWritten) {
    ASSERT_EQ(::mkfifo(path("log").c_str(), 0600), 0);
    const int reader = ::open(path("log").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    ASSERT_GE(reader, 0);
    start({"--log-file", path("log"), "--log-level", "debug"});
    ::close(reader);
    const std::string lost = "cachalot_log_lines_lost_total{model_name=\"scripted\"} ";
    auto metrics = [&] {
        Client client(port_);
        client.send(get("/metrics"));
        return client.response().body;
    };
    ASSERT_THAT(metrics(), HasSubstr(lost));
    EXPECT_TRUE(eventually([&] { return metrics().find(lost + "0\n") == std::string::npos; }));
    EXPECT_TRUE(eventually([&] { return log().find("a line of the log cannot be written") != log().npos; }));
}

TEST_F(Serve, ALogThatCannotBeIsAnErrorBeforeAnythingElse) {
    for (const char* command : {"serve --scripted /nowhere/script", "run hi", "chat"}) {
        const int status = std::system(fmt::format("'{}' {} --log-file /nowhere/log 2>'{}' </dev/null",
                                                   CACHALOT_PROGRAM, command, path("other"))
                                           .c_str());
        EXPECT_EQ(WEXITSTATUS(status), 1);
        EXPECT_EQ(read_text_file(path("other")),
                  "cachalot: /nowhere/log: cannot be opened: No such file or directory\n");
    }
}

TEST_F(Serve, APortThatIsTakenIsAnError) {
    start({});
    const auto other = path("other");
    int status = std::system(fmt::format("'{}' serve --scripted '{}' --port {} 2>'{}'", CACHALOT_PROGRAM,
                                         path("script.json"), port_, other)
                                 .c_str());
    EXPECT_EQ(WEXITSTATUS(status), 1);
    EXPECT_THAT(read_text_file(other), HasSubstr("cannot listen on 127.0.0.1 port"));
}

}  // namespace
}  // namespace cachalot::server::test
