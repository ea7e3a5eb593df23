#include "grammar/choice.h"

#include <algorithm>
#include <vector>

#include "grammar/builder.h"
#include "text/utf8.h"

namespace cachalot::grammar {

GrammarPtr compile_choice(std::span<const std::string> choices) {
    if (choices.empty()) throw GrammarError("a list of choices is empty; give at least one");
    for (const std::string& choice : choices) {
        if (choice.empty()) throw GrammarError("one of the choices is an empty text; leave it out");
        if (!is_valid_utf8(choice)) throw GrammarError("one of the choices is not valid UTF-8");
    }
    Builder builder(Limits{});
    const RuleId whole = builder.rule("choice");
    builder.texts(builder.begin(whole), builder.end(whole), {choices.begin(), choices.end()});
    return builder.finish();
}

}  // namespace cachalot::grammar
