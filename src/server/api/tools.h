// The tools of a request: as the model is told of them, and as the client knows them.
//
// The model knows functions with a JSON schema. Clients also have tools that take a text ("custom") and
// groups of tools ("namespace", in Codex one for each MCP server). These are offered as functions too; when
// the model calls one, the call is given to the client in the tool's own form, and the same call in a later
// request finds the name in the prompt again:
//
//     function f                        f(...)
//     custom apply_patch                apply_patch(input: string)     the input is the text itself
//     namespace mcp__notes, lookup      mcp__notes__lookup(...)        name and namespace apart
//
// V4.1 knows groups itself, as mcp__notes::lookup (text/tool_namespace.h); what it calls so comes apart even
// if a message offered it, but not if it was offered under just that name.
//
// Tools that only a provider can run (web search, a sandbox for code) are left out, since agents list them
// for whatever server they talk to; but a request that insists on one is refused. A tool of any other type is
// refused: left out, the client would wait for calls that never come.
#pragma once

#include <map>
#include <set>

#include "server/api/common.h"

namespace cachalot::server {

struct ToolForm {
    enum class Kind { function, custom } kind = Kind::function;
    std::string name;        // the client's
    std::string name_space;  // of the group, empty without one

    bool operator==(const ToolForm&) const = default;
};

class ToolSet {
  public:
    explicit ToolSet(ChatFormat format = ChatFormat::v4) : format_(format) {}

    // Offers a tool. `function` has what the model is told besides the name: "description", "parameters".
    // Throws ApiError 400 for a name that V4.1 would take apart otherwise.
    void add(ToolForm form, ordered_json function);
    // A tool, or type of tools, that only a provider can run.
    void leave_out(std::string name) { left_out_.insert(std::move(name)); }

    // What the model is told, in order.
    const std::vector<ordered_json>& functions() const { return functions_; }

    // How the client knows the tool that the model calls so: a function of this name if it was never offered.
    ToolForm form(const std::string& prompt_name) const;
    // The name in the prompt, also of a tool that is not offered any more.
    std::string prompt_name(const std::string& name, const std::string& name_space = {}) const;

    bool offers(const std::string& prompt_name) const { return forms_.contains(prompt_name); }
    bool is_left_out(const std::string& name) const { return left_out_.contains(name); }

    // The model has to call this tool: sets tool_choice, or throws ApiError 400 if it is left out or, with
    // `known`, not there. `name` is the field with the client's name.
    void choose(const Field& name, const std::string& name_space, bool known, Request& request) const;

    // Takes away all but the tools in the list, whose entries have a type and, under `nested` or at the top,
    // a name.
    void restrict_to(const Field& list, bool nested);

    ChatFormat format() const { return format_; }

  private:
    std::string joined(const std::string& name_space, const std::string& name) const;

    ChatFormat format_;
    std::vector<ordered_json> functions_;
    std::map<std::string, ToolForm> forms_;  // by the name in the prompt
    std::set<std::string> left_out_;
};

// The name of a tool. Throws ApiError 400 for one that the form of calls in a prompt cannot hold: letters,
// digits and "_-.:/" are what the originals and real clients use.
std::string tool_name(const Field& name);

// The name of a call in the conversation so far. Throws ApiError 400 for one that a prompt cannot hold
// (text/tool_check.h): the tool may be another service's.
std::string call_name(const Field& name);

// The namespace that a tool of V4.1 has, on itself or in its function: a name, or a name and a description,
// which is told with the tool's own. Does nothing for V4. Throws ApiError 400.
void read_namespace(const Field& tool, const Field& function, ChatFormat format, ToolForm& form,
                    ordered_json& parts);

// Throws ApiError 400 for tools and a response format that stand in a message, where the dialect knows them
// in the request only.
void refuse_own_tools(const Field& message);

// Whether a tool of this type, of OpenAI, Anthropic or others, runs at a provider.
bool runs_at_provider(const Field& tool);

// Throws ApiError 400 for the type of a tool that is neither offered nor left out.
[[noreturn]] void refuse_tool_type(const Field& type, std::string_view expected);

// A custom tool as a function with one string. `format`: none, or what the text must be like; a grammar is
// told to the model, and not enforced. Throws ApiError 400.
ordered_json custom_function(const Field& description, const Field& format);

// The arguments of a call of such a function.
std::string custom_arguments(const std::string& input);

// The description and the parameters of a function; these have the name that one dialect or another gives
// them. Throws ApiError 400 if they are of a wrong type.
ordered_json function_parts(const Field& function);

}  // namespace cachalot::server
