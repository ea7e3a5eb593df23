#include "text/completion.h"

#include "base/error.h"

namespace cachalot {

std::string_view to_string(Repair repair) {
    switch (repair) {
        case Repair::think_end_missing: return "</think> is missing";
        case Repair::stray_think_tag: return "stray think tag dropped";
        case Repair::special_token: return "special token dropped";
        case Repair::calls_start_missing: return "<tool_calls> is missing";
        case Repair::calls_end_missing: return "</tool_calls> is missing";
        case Repair::invoke_end_missing: return "</invoke> is missing";
        case Repair::parameter_end_missing: return "</parameter> is missing";
        case Repair::string_attribute_missing: return "parameter without string attribute";
        case Repair::invalid_json_value: return "parameter value is not valid JSON";
        case Repair::value_of_other_type: return "parameter value of another type than the schema's";
        case Repair::duplicate_parameter: return "duplicate parameter dropped";
        case Repair::arguments_in_body: return "arguments outside of parameters";
        case Repair::arguments_wrapped: return "arguments wrapped in one parameter";
        case Repair::name_misspelt: return "misspelt name of a tool or parameter";
        case Repair::tag_of_other_format: return "tag in another spelling";
        case Repair::call_as_text: return "call without usable tool or arguments passed on as text";
        case Repair::text_in_block: return "text between tags";
        case Repair::stray_tag: return "stray tag dropped";
        case Repair::empty_block: return "empty block of calls";
        case Repair::text_after_calls: return "text after the calls";
        case Repair::truncated: return "ended inside a call";
    }
    CACHALOT_CHECK(!"a value of Repair");
}

}  // namespace cachalot
