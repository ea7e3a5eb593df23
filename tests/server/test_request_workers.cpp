#include "server/http/request_workers.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <future>
#include <stdexcept>

#include "base/error.h"
#include "server/http_test.h"
#include "support/refused_threads.h"

namespace cachalot::server {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kLarge = RequestWorkers::kSmall + 1;

// A job that runs until it is told to end.
class Held {
  public:
    std::function<void()> work() {
        return [this] {
            begun_.set_value();
            end_.get_future().wait();
        };
    }
    bool begun() { return begun_.get_future().wait_for(60s) == std::future_status::ready; }
    void end() { end_.set_value(); }

  private:
    std::promise<void> begun_, end_;
};

TEST(RequestWorkers, SmallBodiesDoNotWaitForLargeOnes) {
    RequestWorkers workers(2, 100);
    workers.start();
    Held large;
    ASSERT_TRUE(workers.post(kLarge, large.work()));
    ASSERT_TRUE(large.begun());
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(workers.post(kLarge, [] {}));
    std::promise<void> done;
    ASSERT_TRUE(workers.post(10, [&] { done.set_value(); }));
    EXPECT_EQ(done.get_future().wait_for(60s), std::future_status::ready);
    large.end();
}

TEST(RequestWorkers, TheSmallestAndTheOldestTakeTurns) {
    RequestWorkers workers(1, 100);
    workers.start();
    Held first;
    ASSERT_TRUE(workers.post(1, first.work()));
    ASSERT_TRUE(first.begun());
    std::vector<std::size_t> order;
    std::promise<void> done;
    for (std::size_t size : {50, 40, 10, 30, 20}) {
        ASSERT_TRUE(workers.post(size, [&, size] {
            order.push_back(size);
            if (order.size() == 5) done.set_value();
        }));
    }
    first.end();
    ASSERT_EQ(done.get_future().wait_for(60s), std::future_status::ready);
    EXPECT_EQ(order, (std::vector<std::size_t>{50, 10, 40, 20, 30}));
}

TEST(RequestWorkers, ABoundedNumberWaitsAndIsDroppedAtTheEnd) {
    RequestWorkers workers(1, 2);
    EXPECT_FALSE(workers.post(1, [] {}));  // not yet started
    workers.start();
    Held first;
    ASSERT_TRUE(workers.post(1, first.work()));
    ASSERT_TRUE(first.begun());
    std::atomic<int> ran = 0;
    const auto owned = std::make_shared<int>();
    EXPECT_TRUE(workers.post(1, [&ran, owned] { ++ran; }));
    EXPECT_TRUE(workers.post(1, [&ran, owned] { ++ran; }));
    EXPECT_FALSE(workers.post(1, [&ran, owned] { ++ran; }));
    std::thread stop([&] { workers.stop(); });
    EXPECT_TRUE(
        test::eventually([&] { return owned.use_count() == 1; }));  // let go of before the first has ended
    first.end();
    stop.join();
    EXPECT_EQ(ran, 0);
    EXPECT_FALSE(workers.post(1, [] {}));
}

TEST(RequestWorkers, OutliveWorkThatFails) {
    RequestWorkers workers(2, 100);
    workers.start();
    for (int i = 0; i < 10; ++i) workers.post(1, [] { throw std::runtime_error("x"); });
    std::promise<void> done;
    ASSERT_TRUE(workers.post(1, [&] { done.set_value(); }));
    EXPECT_EQ(done.get_future().wait_for(60s), std::future_status::ready);
}

TEST(RequestWorkers, NeedOneThreadAtLeast) {
    RequestWorkers workers(2, 100);
    const cachalot::test::RefusedThreads none;
    EXPECT_THROW(workers.start(), Error);
    EXPECT_EQ(workers.threads(), 0);
}

using HttpWorkers = test::HttpTest;

TEST_F(HttpWorkers, BodiesThatAreBeingReadDelayNobody) {
    options.threads = 1;
    std::promise<void> end;
    auto ended = end.get_future().share();
    server = std::make_unique<HttpServer>(options, routes());
    auto more = routes();
    more.push_back({"POST", "/slow", [ended](const HttpRequest&, std::shared_ptr<ResponseWriter> writer) {
                        ended.wait();
                        writer->respond(200, "text/plain", "slow");
                    }});
    server->set_routes(more);
    server->start();
    std::vector<test::Client> slow;
    for (int i = 0; i < 4; ++i) {
        slow.emplace_back(server->port());
        ASSERT_TRUE(slow.back().send(test::post("/slow", std::string(kLarge, 'x'))));
    }
    EXPECT_EQ(ask(test::get("/hello")).body, "hello");
    EXPECT_EQ(ask(test::post("/echo", "small")).body, "small");
    end.set_value();
    for (auto& client : slow) EXPECT_EQ(client.response().body, "slow");
}

TEST_F(HttpWorkers, WhoeverLeavesBeforeHisTurnCostsNothing) {
    options.threads = options.request_threads = 1;
    options.limits.unread = 1;
    options.limits.bodies = 3000;
    std::promise<void> end;
    auto ended = end.get_future().share();
    std::atomic<int> called = 0;
    server = std::make_unique<HttpServer>(options, routes());
    auto more = routes();
    more.push_back(
        {"POST", "/slow", [&called, ended](const HttpRequest&, std::shared_ptr<ResponseWriter> writer) {
             ++called;
             ended.wait();
             writer->respond(200, "text/plain", "slow");
         }});
    server->set_routes(more);
    server->start();
    test::Client first(server->port());
    first.send(test::post("/slow", std::string(1000, 'x')));
    ASSERT_TRUE(test::eventually([&] { return called == 1; }));
    {
        test::Client second(server->port());
        second.send(test::post("/slow", std::string(1000, 'x')));
        // The one thread of the network comes to it before it is through with these. Then there is no room
        // for more.
        for (int i = 0; i < 3; ++i) ASSERT_EQ(ask(test::get("/hello")).status, 200);
        EXPECT_EQ(ask(test::post("/echo", "x")).status, 503);
        second.reset();
    }
    const auto left = [](const Served& s) { return s.route == "/slow" && s.status == 0; };
    ASSERT_TRUE(test::eventually([&] {
        const auto all = served();
        return std::any_of(all.begin(), all.end(), left);
    }));
    // Its body is still held, as it still waits.
    EXPECT_EQ(ask(test::post("/echo", std::string(1500, 'x'))).status, 503);
    end.set_value();
    EXPECT_EQ(first.response().body, "slow");
    ASSERT_TRUE(
        test::eventually([&] { return ask(test::post("/echo", std::string(3000, 'y'))).status == 200; }));
    EXPECT_EQ(called, 1);
}

TEST_F(HttpWorkers, AServerWithoutThreadsSaysSo) {
    server = std::make_unique<HttpServer>(options, routes());
    {
        const cachalot::test::RefusedThreads none;
        EXPECT_THROW(server->start(), Error);
    }
    server.reset();
    start();  // and the next one has all of them
    EXPECT_EQ(server->missing_threads(), 0);
    EXPECT_EQ(ask(test::post("/echo", "x")).body, "x");
}

}  // namespace
}  // namespace cachalot::server
