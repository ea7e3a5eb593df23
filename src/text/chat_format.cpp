#include "text/chat_format.h"

#include "base/error.h"
#include "text/prompt_protocol.h"
#include "text/tokenizer.h"

namespace cachalot {

ChatFormat chat_format_of(const Tokenizer& tokenizer, ChatFormat v4) {
    const auto system = tokenizer.find(kSystemToken);
    if (!system || !tokenizer.is_special(*system)) return v4 == ChatFormat::v41 ? ChatFormat::v4 : v4;
    if (v4 == ChatFormat::v4_april)
        fail("the effort of the April preview (--april) is asked for, but the model is a V4.1: leave it out");
    return ChatFormat::v41;
}

}  // namespace cachalot
