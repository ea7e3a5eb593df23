// What the tests of the Responses dialect share: short ways to read a request and to post one, and what an
// SDK makes of a stream.
#pragma once

#include "server/api/responses.h"
#include "server/api/responses_read.h"
#include "server/fake_service.h"

namespace cachalot::server::responses_test {

using nlohmann::ordered_json;

inline ResponsesRequest read(const char* body) {
    return read_responses_request(ordered_json::parse(body), FakeService().info());
}

inline std::vector<Message> messages(const char* items) {
    const ordered_json body = {{"input", ordered_json::parse(items)}};
    return read_responses_request(body, FakeService().info()).request.conversation.messages;
}

inline std::shared_ptr<FakeWriter> post(FakeService& service, const char* body) {
    return ask(responses_routes(service), "POST", "/v1/responses", body);
}

// What an SDK makes of a stream; fails where one would.
inline ordered_json accumulate(const std::vector<SseEvent>& events) {
    ordered_json response;
    int added = 0, items_done = 0, parts = 0;
    bool over = false;
    for (std::size_t i = 0; i < events.size(); ++i) {
        const auto& [name, data] = events[i];
        EXPECT_EQ(data["type"], name);
        EXPECT_EQ(data["sequence_number"], i);
        EXPECT_FALSE(over) << name;
        EXPECT_EQ(name == "response.created", i == 0);
        if (data.contains("response")) {
            over = name == "response.completed" || name == "response.incomplete";
            if (!response.is_null()) {
                EXPECT_EQ(data["response"]["output"].dump(), response["output"].dump()) << name;
            }
            response = data["response"];
            continue;
        }
        ordered_json& output = response["output"];
        const std::size_t index = data["output_index"];
        if (name == "response.output_item.added") {
            EXPECT_EQ(index, output.size());
            EXPECT_EQ(added++, items_done);
            output.push_back(data["item"]);
            continue;
        }
        EXPECT_EQ(index, output.size() - 1);
        ordered_json& item = output.back();
        if (name == "response.output_item.done") {
            EXPECT_EQ(item["id"], data["item"]["id"]);
            EXPECT_EQ(parts, 0);
            // The parts that were streamed are those of the item.
            for (const char* key : {"content", "summary", "arguments"}) {
                if (item.contains(key)) {
                    EXPECT_EQ(item[key], data["item"][key]);
                }
            }
            item = data["item"];
            EXPECT_NE(item["status"], "in_progress");
            items_done++;
            continue;
        }
        EXPECT_EQ(data["item_id"], item["id"]);
        if (name.starts_with("response.function_call_arguments")) {
            EXPECT_EQ(item["type"], "function_call");
            if (name.ends_with(".delta"))
                item["arguments"] = item["arguments"].get<std::string>() + data["delta"].get<std::string>();
            else
                EXPECT_EQ(item["arguments"], data["arguments"]);
            continue;
        }
        const bool summary = name.find("summary") != name.npos;
        EXPECT_EQ(data[summary ? "summary_index" : "content_index"], 0);
        ordered_json& list = item[summary ? "summary" : "content"];
        if (name.ends_with("part.added")) {
            EXPECT_EQ(parts++, 0);
            list.push_back(data["part"]);
        } else if (name.ends_with("part.done")) {
            EXPECT_EQ(parts--, 1);
            EXPECT_EQ(list[0], data["part"]);
        } else if (name.ends_with("text.delta")) {
            EXPECT_EQ(parts, 1);
            list[0]["text"] = list[0]["text"].get<std::string>() + data["delta"].get<std::string>();
        } else if (name.ends_with("text.done")) {
            EXPECT_EQ(list[0]["text"], data["text"]);
        } else {
            ADD_FAILURE() << name;
        }
    }
    EXPECT_TRUE(over);
    EXPECT_EQ(added, items_done);
    return response;
}

}  // namespace cachalot::server::responses_test
