// The program on a terminal: what it shows there, and what is typed.
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "cli/program.h"

namespace cachalot {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

// A program whose terminal we are.
class OnTerminal {
  public:
    OnTerminal(const std::string& home, const std::vector<std::string>& arguments) {
        id_ = forkpty(&terminal_, nullptr, nullptr, nullptr);
        if (id_ == 0) {
            setenv("HOME", home.c_str(), 1);
            setenv("TERM", "xterm", 1);
            for (const char* name :
                 {"XDG_STATE_HOME", "XDG_CACHE_HOME", "CACHALOT_MODEL", "LC_ALL", "LANG", "LC_CTYPE"})
                unsetenv(name);
            std::vector<char*> list = {const_cast<char*>(CACHALOT_PROGRAM)};
            for (const auto& argument : arguments) list.push_back(const_cast<char*>(argument.c_str()));
            list.push_back(nullptr);
            execv(CACHALOT_PROGRAM, list.data());
            _exit(127);
        }
    }
    ~OnTerminal() {
        kill(id_, SIGKILL);
        waitpid(id_, nullptr, 0);
        close(terminal_);
    }
    OnTerminal(const OnTerminal&) = delete;
    OnTerminal& operator=(const OnTerminal&) = delete;

    void type(const std::string& keys) {
        ASSERT_EQ(write(terminal_, keys.data(), keys.size()), ssize_t(keys.size()));
    }

    // Everything shown since the last call, up to and with `text`; fails the test if it does not come.
    std::string wait_for(const std::string& text) {
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
        while (true) {
            if (const auto at = screen_.find(text); at != std::string::npos) {
                auto shown = screen_.substr(0, at + text.size());
                screen_.erase(0, shown.size());
                return shown;
            }
            if (!read_more() || std::chrono::steady_clock::now() > end) {
                ADD_FAILURE() << "no '" << text << "' in: " << screen_;
                return screen_;
            }
        }
    }

    // The prompt of a chat: what is typed from now on is read as it is.
    std::string wait_for_prompt() { return wait_for("> "); }

    std::string rest() {
        while (read_more()) {
        }
        return screen_;
    }

  private:
    bool read_more() {
        pollfd ready{terminal_, POLLIN, 0};
        if (poll(&ready, 1, 60'000) <= 0) return false;
        char bytes[4096];
        const auto n = read(terminal_, bytes, sizeof bytes);
        if (n <= 0) return false;  // the program has ended
        screen_.append(bytes, static_cast<std::size_t>(n));
        return true;
    }

    int terminal_ = -1;
    pid_t id_ = -1;
    std::string screen_;
};

class Terminal : public Commands {
  protected:
    // The texts of one role in a conversation that /save wrote.
    std::vector<std::string> saved(const std::string& name, const std::string& role) {
        std::vector<std::string> texts;
        for (const auto& message : json::parse(read_text_file(path(name))))
            if (message["role"] == role) texts.push_back(message["content"]);
        return texts;
    }
    // Types `keys` into a chat that begins so, saves it, and returns the questions.
    std::vector<std::string> questions_of(const std::string& keys) {
        OnTerminal chat(home(), {"chat", "-n", "3"});
        chat.wait_for_prompt();
        chat.type(keys);
        chat.wait_for(" tokens/s)");
        save(chat, "talk.json");
        return saved("talk.json", "user");
    }
    void save(OnTerminal& chat, const std::string& name) {
        chat.wait_for_prompt();
        chat.type("/save " + path(name) + "\r");
        chat.wait_for("written to");
    }
    std::string home() const { return folder.path().string(); }
};

const std::string kPasteBegin = "\033[200~", kPasteEnd = "\033[201~";

TEST_F(Terminal, EveryLanguageCanBeTyped) {
    EXPECT_THAT(questions_of("Grüße 日本 😀 é\r"), testing::ElementsAre("Grüße 日本 😀 é"));
}

TEST_F(Terminal, APastedTextIsOneQuestion) {
    EXPECT_THAT(
        questions_of(kPasteBegin + "def f(x):\r\treturn x\r\rWhat does this do?\r" + kPasteEnd + "\r"),
        testing::ElementsAre("def f(x):\n\treturn x\n\nWhat does this do?"));
    EXPECT_THAT(questions_of("Explain: " + kPasteBegin + "/quit\n/nosuch" + kPasteEnd + " please\r"),
                testing::ElementsAre("Explain: /quit\n/nosuch please"));
}

TEST_F(Terminal, CtrlCDropsWhatWasTyped) {
    OnTerminal chat(home(), {"chat", "-n", "3"});
    EXPECT_THAT(chat.wait_for_prompt(),
                AllOf(HasSubstr("toy"), HasSubstr("huggingface.co"), HasSubstr("\033[?2004h")));
    chat.type("not to be sent\\\r");
    chat.wait_for(". ");
    chat.type("nor this\003");
    chat.wait_for("/bye leaves)");
    chat.wait_for_prompt();
    chat.type("sent\r");
    chat.wait_for(" tokens/s)");
    save(chat, "talk.json");
    EXPECT_THAT(saved("talk.json", "user"), testing::ElementsAre("sent"));
    chat.wait_for_prompt();
    chat.type("\004");
    chat.rest();
}

TEST_F(Terminal, HistoryOutlivesTheSession) {
    EXPECT_THAT(questions_of("first question\r"), testing::ElementsAre("first question"));
    OnTerminal chat(home(), {"chat", "-n", "3"});
    chat.wait_for_prompt();
    chat.type("\033[A\033[A");  // above /save
    chat.wait_for("first question");
    chat.type("\r");
    chat.wait_for(" tokens/s)");
    OnTerminal off(home(), {"chat", "-n", "3", "--history", "off"});
    off.wait_for_prompt();
    off.type("\033[Asecret\r");
    off.wait_for(" tokens/s)");
    EXPECT_THAT(read_text_file(path(".local/state/cachalot/history")), Not(HasSubstr("secret")));
}

TEST_F(Terminal, TabCompletesCommandsAndFiles) {
    std::ofstream(path("conversation.json")) << R"([{"role": "user", "content": "hello from a file"}])";
    OnTerminal chat(home(), {"chat", "-n", "3"});
    chat.wait_for_prompt();
    chat.type("/lo\t" + path("conv") + "\t\r");
    chat.wait_for("1 messages read from " + path("conversation.json"));
    chat.wait_for_prompt();
    chat.type("/s\t");
    chat.wait_for("/stats");
}

TEST_F(Terminal, RunWithoutAPromptIsAChat) {
    OnTerminal run(home(), {"run", "-n", "3"});
    run.wait_for_prompt();
    run.type("hello\r");
    run.wait_for(" tokens/s)");
    run.wait_for_prompt();
    run.type("/bye\r");
    run.rest();
}

// A token that is ESC is forced.
TEST_F(Terminal, WhatTheModelWritesIsShownNotObeyed) {
    auto id = run("tokenize", "\033").out;
    id.pop_back();
    const std::string bias = id + "=100";
    const auto screen = OnTerminal(home(), {"run", "hi", "-n", "3", "--bias", bias}).rest();
    EXPECT_THAT(screen, AllOf(HasSubstr("\\u001b\\u001b\\u001b"), Not(HasSubstr("\033"))));
    const auto raw = OnTerminal(home(), {"run", "--raw", "hi", "-n", "3", "--bias", bias}).rest();
    EXPECT_THAT(raw, AllOf(HasSubstr("\\u001b"), Not(HasSubstr("\033"))));
    EXPECT_EQ(run("run hi -n 3 --bias " + bias).out, "\033\033\033\n");  // a file gets the bytes
    EXPECT_EQ(run("tokenize --decode " + id).out, "\033\n");
    EXPECT_THAT(OnTerminal(home(), {"tokenize", "--decode", id}).rest(), HasSubstr("\\u001b"));
}

}  // namespace
}  // namespace cachalot
