// The scripted model and the queue in front of it.
#include "service/scripted_service.h"

#include <future>
#include <thread>

#include "server/support.h"
#include "service/conversation_policy.h"

namespace cachalot::server {
namespace {

Request question(const std::string& text) {
    Request request;
    request.conversation.messages.push_back(text_message(Role::user, text));
    return request;
}

// Collects events until the last one.
struct Collector {
    std::mutex mutex;
    std::condition_variable changed;
    std::vector<Event> events;
    bool over = false;

    Service::Sink sink() {
        return [this](const Event& event) {
            std::lock_guard lock(mutex);
            events.push_back(event);
            over = event.kind == Event::Kind::done || event.kind == Event::Kind::failed;
            changed.notify_all();
        };
    }
    bool wait() {
        std::unique_lock lock(mutex);
        return changed.wait_for(lock, std::chrono::seconds(30), [&] { return over; });
    }
    bool wait_for(Event::Kind kind) {
        std::unique_lock lock(mutex);
        return changed.wait_for(lock, std::chrono::seconds(30), [&] {
            return std::any_of(events.begin(), events.end(), [&](const Event& e) { return e.kind == kind; });
        });
    }
    std::string text(Event::Kind kind) {
        std::string all;
        for (const auto& event : events)
            if (event.kind == kind) all += event.text;
        return all;
    }
};

std::string answer(Service& service, Request request, Event::Kind kind = Event::Kind::content) {
    Collector collector;
    service.submit(std::move(request), collector.sink());
    EXPECT_TRUE(collector.wait());
    return collector.text(kind);
}

TEST(ScriptedService, ChoosesTheFirstRuleThatMatches) {
    test::TemporaryFile file(R"({"rules": [
        {"match": {"last_user_regex": "^ping [0-9]+$"}, "content": "pong"},
        {"match": {"last_user": "exactly"}, "content": "equal"},
        {"match": {"contains": "needle", "turn": 1}, "content": "second turn"},
        {"match": {"contains": "needle"}, "content": "found", "chunk": "all"},
        {"match": {"has_tools": true, "last_user": "?"}, "content": "tools"},
        {"match": {"last_user": "raw"}, "raw": "why</think>\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"f\">\n<｜DSML｜parameter name=\"x\" string=\"false\">[1</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>"}],
        "default": {"content": "else"}})");
    auto service = make_scripted_service(Script::load(file.path));
    EXPECT_EQ(answer(*service, question("ping 12")), "pong");
    EXPECT_EQ(answer(*service, question("ping x")), "else");
    EXPECT_EQ(answer(*service, question("exactly")), "equal");
    EXPECT_EQ(answer(*service, question("hay needle hay")), "found");
    auto later = question("needle");
    later.conversation.messages.push_back(text_message(Role::assistant, "found"));
    later.conversation.messages.push_back(text_message(Role::user, "and?"));
    EXPECT_EQ(answer(*service, later), "second turn");
    auto tools = question("?");
    tools.conversation.tools.push_back({{"name", "f"}});
    EXPECT_EQ(answer(*service, tools), "tools");
    // Broken DSML goes through the real parser.
    auto raw = question("raw");
    raw.conversation.tools.push_back({{"name", "f"}});
    EXPECT_EQ(answer(*service, raw, Event::Kind::call_arguments), R"({"x": "[1"})");
    raw.tool_choice = ToolChoice::none;  // nothing is a call then, whatever the model writes
    EXPECT_EQ(answer(*service, raw, Event::Kind::call_arguments), "");
    EXPECT_EQ(answer(*service, raw), R"(f {"x": "[1"})");
}

TEST(ScriptedService, RefusesBadScripts) {
    for (const char* text :
         {"", "[]", R"({"rules": 5})", R"({"rules": [{"match": {"last_user_regex": "("}}]})",
          R"({"rules": [{"chunk": "line"}]})", R"({"default": {"tool_calls": [{}]}})"}) {
        test::TemporaryFile file(text);
        try {
            Script::load(file.path);
            ADD_FAILURE() << text;
        } catch (const Error& e) {
            EXPECT_NE(std::string(e.what()).find(file.path), std::string::npos) << e.what();
        }
    }
    EXPECT_THROW(Script::load("/does/not/exist.json"), Error);
}

class Queue : public testing::Test {
  protected:
    test::TemporaryFile file{
        R"({"rules": [{"match": {"contains": "slow"}, "content": "a b c d e f g h i j k l m n o p",
        "delay_ms_per_token": 100}], "default": {"content": "quick"}})"};
    std::unique_ptr<Service> service(std::size_t limit, int heartbeat_ms = 5000) {
        return make_scripted_service(Script::load(file.path),
                                     {{limit, std::chrono::milliseconds(heartbeat_ms)}});
    }
};

TEST_F(Queue, IsBounded) {
    auto s = service(2);
    Collector running, first, second;
    auto job = s->submit(question("slow"), running.sink());
    ASSERT_TRUE(running.wait_for(Event::Kind::content));
    s->submit(question("x"), first.sink());
    s->submit(question("x"), second.sink());
    try {
        s->submit(question("x"), [](const Event&) {});
        FAIL();
    } catch (const ApiError& e) {
        EXPECT_EQ(e.status, 429);
        EXPECT_EQ(e.code, "queue_full");
        EXPECT_GE(e.retry_after, 1);
    }
    job->cancel();
    EXPECT_TRUE(first.wait());
    EXPECT_TRUE(second.wait());
    EXPECT_FALSE(running.over);
}

TEST_F(Queue, ServesByPriorityThenInOrder) {
    auto s = service(10);
    Collector running;
    auto job = s->submit(question("slow"), running.sink());
    ASSERT_TRUE(running.wait_for(Event::Kind::content));
    std::mutex mutex;
    std::vector<int> order;
    std::promise<void> all;
    int number = 0;
    for (auto priority : {Priority::background, Priority::normal, Priority::normal, Priority::interactive}) {
        auto request = question("x");
        request.priority = priority;
        s->submit(request, [&, n = number++](const Event& event) {
            if (event.kind != Event::Kind::done) return;
            std::lock_guard lock(mutex);
            order.push_back(n);
            if (order.size() == 4) all.set_value();
        });
    }
    job->cancel();
    ASSERT_EQ(all.get_future().wait_for(std::chrono::seconds(30)), std::future_status::ready);
    EXPECT_EQ(order, (std::vector<int>{3, 1, 2, 0}));
}

TEST_F(Queue, LetsThoseWhoWaitKnow) {
    auto s = service(10, 30);
    Collector running, waiting;
    auto job = s->submit(question("slow"), running.sink());
    s->submit(question("x"), waiting.sink());
    EXPECT_TRUE(waiting.wait_for(Event::Kind::progress));
    EXPECT_FALSE(waiting.over);
    job->cancel();
    EXPECT_TRUE(waiting.wait());
}

TEST_F(Queue, LetsThoseWhoReceiveKnowOfPauses) {
    auto s = service(10, 30);
    Collector running;
    auto job = s->submit(question("slow"), running.sink());
    ASSERT_TRUE(running.wait_for(Event::Kind::content));
    auto pauses = [&] {
        std::lock_guard lock(running.mutex);
        auto began = std::find_if(running.events.begin(), running.events.end(),
                                  [](const Event& e) { return e.kind == Event::Kind::content; });
        return std::count_if(began, running.events.end(),
                             [](const Event& e) { return e.kind == Event::Kind::progress; });
    };
    ASSERT_TRUE(running.wait());
    EXPECT_GT(pauses(), 0);
}

TEST_F(Queue, DropsWhatNobodyWaitsFor) {
    auto s = service(1);
    Collector running, waiting, next;
    auto job = s->submit(question("slow"), running.sink());
    ASSERT_TRUE(running.wait_for(Event::Kind::content));
    std::atomic<bool> gone = false;
    auto request = question("x");
    request.abandoned = [&] { return gone.load(); };
    s->submit(request, waiting.sink());
    gone = true;
    for (int i = 0; i < 200; ++i) {  // its place becomes free
        try {
            s->submit(question("x"), next.sink());
            break;
        } catch (const ApiError&) {
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }
    }
    EXPECT_FALSE(running.over);
    job->cancel();
    EXPECT_TRUE(next.wait());
    EXPECT_TRUE(waiting.events.empty());
}

TEST_F(Queue, Drains) {
    auto s = service(10);
    Collector running, waiting;
    s->submit(question("slow"), running.sink());
    s->submit(question("slow"), waiting.sink());
    ASSERT_TRUE(running.wait_for(Event::Kind::content));
    s->drain(std::chrono::steady_clock::now() + std::chrono::milliseconds(50));
    for (auto* collector : {&running, &waiting}) {
        ASSERT_TRUE(collector->over);
        EXPECT_EQ(collector->events.back().error->status, 503);
        EXPECT_EQ(collector->events.back().error->code, "shutting_down");
    }
    EXPECT_FALSE(s->ready());
    EXPECT_THROW(s->submit(question("x"), [](const Event&) {}), ApiError);
}

TEST(ConversationPolicy, AlwaysLeavesAnAnswerToWrite) {
    auto roles = [](std::vector<Role> in) {
        Conversation conversation;
        for (auto role : in) conversation.messages.push_back(text_message(role, "x"));
        apply_policy(conversation);
        std::vector<Role> out;
        for (const auto& m : conversation.messages) out.push_back(m.role);
        EXPECT_NE(encode_prompt(conversation).continuation, Continuation::nothing);
        auto again = conversation;
        apply_policy(again);
        EXPECT_EQ(encode_prompt(again).text(), encode_prompt(conversation).text());
        return out;
    };
    using R = Role;
    using Roles = std::vector<Role>;
    EXPECT_EQ(roles({R::system, R::developer, R::user}), (Roles{R::system, R::user}));
    EXPECT_EQ(roles({R::user, R::system}), (Roles{R::user, R::user}));
    EXPECT_EQ(roles({R::user, R::developer, R::assistant, R::user}),
              (Roles{R::user, R::user, R::assistant, R::user}));
    EXPECT_EQ(roles({R::system}), (Roles{R::system, R::user}));
    EXPECT_EQ(roles({R::user, R::assistant}), (Roles{R::user, R::assistant}));
    EXPECT_EQ(roles({R::user, R::assistant, R::system}), (Roles{R::user, R::assistant, R::user}));
    EXPECT_EQ(roles({R::user, R::latest_reminder}), (Roles{R::user, R::latest_reminder}));
    EXPECT_EQ(roles({R::system, R::latest_reminder}), (Roles{R::system, R::latest_reminder, R::user}));
    Conversation none;
    EXPECT_THROW(apply_policy(none), ApiError);
}

// V4.1 was trained on late system messages, and on an answer after them.
TEST(ConversationPolicy, LeavesMessagesOfV41WhereTheyAre) {
    using R = Role;
    using Roles = std::vector<Role>;
    const auto roles = [](Roles in) {
        Conversation conversation;
        for (auto role : in) conversation.messages.push_back(text_message(role, "x"));
        apply_policy(conversation, ChatFormat::v41);
        Roles out;
        for (const auto& m : conversation.messages) out.push_back(m.role);
        EXPECT_NE(encode_prompt(conversation, {.format = ChatFormat::v41}).continuation,
                  Continuation::nothing);
        return out;
    };
    for (const Roles& same : {Roles{R::system, R::developer, R::user}, Roles{R::user, R::system},
                              Roles{R::system, R::system}, Roles{R::user, R::assistant, R::system},
                              Roles{R::developer}, Roles{R::system, R::user, R::latest_reminder},
                              Roles{R::user, R::system, R::latest_reminder}, Roles{R::user, R::assistant}})
        EXPECT_EQ(roles(same), same);
    EXPECT_EQ(roles({R::system}), (Roles{R::system, R::user}));
    EXPECT_EQ(roles({R::system, R::latest_reminder}), (Roles{R::system, R::latest_reminder, R::user}));
    EXPECT_EQ(roles({R::latest_reminder}), (Roles{R::latest_reminder, R::user}));
}

TEST(ConversationPolicy, OnlyNoiseIsRemoved) {
    auto left = [](Role role, std::string text) {
        Conversation conversation;
        conversation.messages = {text_message(role, std::move(text)), text_message(Role::user, "q")};
        remove_client_noise(conversation);
        return conversation.messages.size() == 1 ? "(none)" : content_text(conversation.messages[0].content);
    };
    EXPECT_EQ(left(Role::system, "a\nb"), "a\nb");
    EXPECT_EQ(left(Role::system, "a\n\n"), "a\n\n");
    EXPECT_EQ(left(Role::system, "x-anthropic-billing-header: 1"), "(none)");
    EXPECT_EQ(left(Role::developer, "x-anthropic-billing-header: 1\n"), "(none)");
    EXPECT_EQ(left(Role::system, "a\nx-anthropic-billing-header: 1\nb\n"), "a\nb\n");
    EXPECT_EQ(left(Role::system, "the x-anthropic-billing-header: 1"), "the x-anthropic-billing-header: 1");
    EXPECT_EQ(left(Role::user, "x-anthropic-billing-header: 1"), "x-anthropic-billing-header: 1");

    Conversation parts;  // of which one is nothing else
    parts.messages = {text_message(Role::system, "x-anthropic-billing-header: cch=1;")};
    parts.messages[0].content.push_back({"text", "Rules"});
    remove_client_noise(parts);
    ASSERT_EQ(parts.messages.size(), 1u);
    EXPECT_EQ(parts.messages[0].content.size(), 1u);
}

}  // namespace
}  // namespace cachalot::server
