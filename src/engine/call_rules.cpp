#include "engine/call_rules.h"

#include <limits>

#include "text/prompt_protocol.h"

namespace cachalot {

std::shared_ptr<const ToolSchemas> offered_tools(const Conversation& conversation, bool callable) {
    return std::make_shared<const ToolSchemas>(conversation, callable);
}

void restrict_calls(GenerationOptions& options, const ToolSchemas& tools, const Tokenizer& tokenizer,
                    ChatFormat format) {
    const bool any = !tools.all().empty();
    if (!any || !tools.callable())
        if (const auto token = tokenizer.find("｜DSML｜"))
            options.sampling.logit_bias.emplace_back(*token, -std::numeric_limits<float>::infinity());
    if (!any) return;
    if (!tools.callable()) {
        // Without the sentinel a model that wants to call writes the same in plain letters; and where it
        // wants to before it has said anything, it has to begin otherwise.
        options.rules.forbidden = {std::string(kThinkEnd) + "\n\n<",
                                   "｜DSML｜",
                                   "DSML|",
                                   "<tool_",
                                   "</tool_",
                                   "<toolcall",
                                   "<function_",
                                   "</function_",
                                   "<invoke",
                                   "</invoke",
                                   "<parameter name="};
        if (format == ChatFormat::v41)
            for (const char* spaced : {"< calls>", "</ calls>", "< invoke name=", "< parameter name="})
                options.rules.forbidden.emplace_back(spaced);
        return;
    }
    options.calls_start = tokenizer.encode(protocol_of(format).calls_start, SpecialTokens::parse);
    options.rules.trigger = protocol_of(format).invoke_start;
    for (const ToolSchema& tool : tools.all())
        options.rules.continuations.push_back(tool.name() + std::string(kInvokeNameEnd));
}

}  // namespace cachalot
