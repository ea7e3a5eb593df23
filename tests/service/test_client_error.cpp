#include "service/client_error.h"

#include <gmock/gmock.h>

#include <system_error>

#include "support/recorded_log.h"

namespace cachalot::server {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class ClientError : public testing::Test {
  protected:
    template <class Thrown>
    ApiError told(const Thrown& thrown, Fault fault) {
        return client_error(std::make_exception_ptr(thrown), fault, Log(log), "req_1");
    }
    std::shared_ptr<cachalot::test::RecordedLog> log = std::make_shared<cachalot::test::RecordedLog>();
};

TEST_F(ClientError, WhatIsMeantForClientsStaysAsItIs) {
    ApiError full(429, "queue_full", "try again");
    full.retry_after = 3;
    for (const auto fault : {Fault::request, Fault::server}) {
        const auto error = told(full, fault);
        EXPECT_EQ(error.status, 429);
        EXPECT_EQ(error.code, "queue_full");
        EXPECT_STREQ(error.what(), "try again");
        EXPECT_EQ(error.retry_after, 3);
    }
    EXPECT_THAT(log->lines(), IsEmpty());
}

TEST_F(ClientError, WhatIsWrongWithARequestIsToldAndBlamed) {
    const auto error = told(Error("messages[3].role: unknown role"), Fault::request);
    EXPECT_EQ(error.status, 400);
    EXPECT_EQ(error.code, "invalid_request");
    EXPECT_EQ(error.param, "messages[3].role");
    EXPECT_STREQ(error.what(), "messages[3].role: unknown role");
    EXPECT_EQ(told(Error("no field at all"), Fault::request).param, "");
    EXPECT_THAT(log->lines(), IsEmpty());
}

TEST_F(ClientError, OfTheServerOnlyThatThereIsOne) {
    const auto error = told(Error("/kv/pages-000001: cannot write"), Fault::server);
    EXPECT_EQ(error.status, 500);
    EXPECT_EQ(error.code, "internal_error");
    EXPECT_EQ(error.param, "");
    EXPECT_THAT(error.what(), HasSubstr("req_1"));
    EXPECT_THAT(error.what(), Not(HasSubstr("/")));
    EXPECT_THAT(log->lines(),
                ElementsAre("error: a request failed request=req_1 error=/kv/pages-000001: cannot write"));
    EXPECT_EQ(cause_of(error.cause), "/kv/pages-000001: cannot write");  // for callers in this process
}

TEST_F(ClientError, WhatHasNoIdIsLoggedWithoutOne) {
    const auto error = client_error(std::make_exception_ptr(Error("a")), Fault::server, Log(log), "");
    EXPECT_THAT(error.what(), Not(HasSubstr("under")));
    EXPECT_THAT(log->lines(), ElementsAre("error: a request failed error=a"));
}

TEST_F(ClientError, AMistakeOfOursIsNoFaultOfTheRequest) {
    for (const auto fault : {Fault::request, Fault::server}) {
        EXPECT_EQ(told(InternalError("src/a.cpp:7: x > 0"), fault).status, 500);
        EXPECT_EQ(told(std::bad_alloc(), fault).status, 500);
        EXPECT_EQ(told(42, fault).status, 500);
        EXPECT_THROW(std::rethrow_exception(told(std::bad_alloc(), fault).cause), std::bad_alloc);
        EXPECT_THAT(told(InternalError("src/a.cpp:7: x > 0"), fault).what(), Not(HasSubstr("a.cpp")));
    }
    EXPECT_EQ(log->lines().size(), 10u);
}

}  // namespace
}  // namespace cachalot::server
