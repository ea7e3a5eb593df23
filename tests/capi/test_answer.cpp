// What becomes of the events of a service, of which some come from a machine that no test has.
#include "capi/answer.h"

#include <new>

#include "base/out_of_memory.h"
#include "capi/library.h"

namespace cachalot::test {
namespace {

using server::ApiError;
using server::Event;
using testing::HasSubstr;

std::shared_ptr<capi::Answer> answer_to(Events& events) {
    return std::make_shared<capi::Answer>(Events::take, &events, std::make_shared<std::atomic<bool>>(false));
}

void fail_with(const server::Service::Sink& sink, const ApiError& error) {
    Event failed{Event::Kind::failed};
    failed.error = std::make_shared<const ApiError>(error);
    sink(failed);
}

// The last event and what waiting gives must agree.
void expect_failure(const ApiError& error, cachalot_status status, const std::string& message) {
    Events events;
    const auto answer = answer_to(events);
    const auto sink = capi::Answer::sink(answer);
    answer->accepted();
    fail_with(sink, error);
    EXPECT_EQ(events.ends, 1);
    EXPECT_EQ(events.reason, CACHALOT_END_ERROR);
    EXPECT_EQ(events.status, status);
    EXPECT_THAT(events.message, HasSubstr(message));
    try {
        answer->wait(-1);
        ADD_FAILURE() << "the answer did not fail";
    } catch (const capi::CapiError& e) {
        EXPECT_EQ(e.status, status);
        EXPECT_THAT(e.what(), HasSubstr(message));
    }
}

ApiError internal(std::exception_ptr cause) {
    ApiError error(500, "internal_error", "The server's log tells why.");
    error.cause = std::move(cause);
    return error;
}

TEST(CapiAnswer, FailsWithWhatHasHappenedInside) {
    auto thrown = [](const auto& error) { return internal(std::make_exception_ptr(error)); };
    expect_failure(thrown(Error("/m/a.gguf: cannot read: Input/output error")), CACHALOT_FAILED, "/m/a.gguf");
    expect_failure(thrown(OutOfMemory("there is no memory for 77 bytes")), CACHALOT_NO_MEMORY, "77 bytes");
    expect_failure(thrown(std::bad_alloc()), CACHALOT_NO_MEMORY, "memory");
    expect_failure(thrown(std::length_error("vector")), CACHALOT_NO_MEMORY, "memory");
    expect_failure(thrown(InternalError("a.cpp:7: x > 0")), CACHALOT_INTERNAL, "a.cpp:7");
    expect_failure(thrown(std::out_of_range("map::at")), CACHALOT_INTERNAL, "map::at");
    expect_failure(thrown(42), CACHALOT_INTERNAL, "unknown type");
}

TEST(CapiAnswer, FailsAsTheServiceSaysWhereThatIsAll) {
    expect_failure({400, "invalid_request", "top_p: 7 is too much"}, CACHALOT_INVALID, "top_p");
    expect_failure({429, "queue_full", "3 requests are waiting"}, CACHALOT_BUSY, "3 requests");
    expect_failure({503, "shutting_down", "the server is shutting down"}, CACHALOT_CLOSING, "shutting");
    expect_failure({502, "other", "something else"}, CACHALOT_FAILED, "something else");
}

TEST(CapiAnswer, AMessageOfAnyLengthIsPassedOn) {
    const std::string long_name(5000, 'x');
    expect_failure(internal(std::make_exception_ptr(Error(long_name))), CACHALOT_FAILED,
                   long_name.substr(0, 1000));
}

}  // namespace
}  // namespace cachalot::test
