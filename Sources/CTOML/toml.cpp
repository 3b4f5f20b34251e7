#include <cstring>
#include <stdexcept>
#include <string_view>

// The library asserts what some texts make untrue, such as a key that is missing in an inline table.
// Such a text is refused; nothing is ended by it, and nothing is assumed.
namespace {
[[noreturn]] void refuse() { throw std::logic_error("it is not understood"); }
} // namespace
#define TOML_ASSERT(expression) ((expression) ? (void)0 : refuse())
#undef NDEBUG

#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 1
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

#include "CTOML.h"

namespace {

class Visit {
public:
    Visit(void *context, ctoml_visitor visitor) : context(context), visitor(visitor) {}

    void node(std::string_view key, const toml::node &node, unsigned line) const {
        ctoml_event event = {};
        event.key = key.data();
        event.key_length = key.size();
        event.line = line;
        if (const toml::table *table = node.as_table()) {
            event.kind = CTOML_TABLE;
            visitor(context, &event);
            for (auto &&[name, value] : *table) {
                this->node(name.str(), value, name.source().begin.line);
            }
            end(line);
            return;
        }
        if (const toml::array *array = node.as_array()) {
            event.kind = CTOML_ARRAY;
            visitor(context, &event);
            for (auto &&value : *array) { this->node({}, value, value.source().begin.line); }
            end(line);
            return;
        }
        if (const auto *text = node.as_string()) {
            event.kind = CTOML_STRING;
            event.text = text->get().data();
            event.text_length = text->get().size();
        } else if (const auto *integer = node.as_integer()) {
            event.kind = CTOML_INTEGER;
            event.integer = integer->get();
        } else if (const auto *number = node.as_floating_point()) {
            event.kind = CTOML_FLOAT;
            event.number = number->get();
        } else if (const auto *boolean = node.as_boolean()) {
            event.kind = CTOML_BOOLEAN;
            event.integer = boolean->get() ? 1 : 0;
        } else {
            event.kind = CTOML_OTHER;
        }
        visitor(context, &event);
    }

private:
    void *context;
    ctoml_visitor visitor;

    void end(unsigned line) const {
        ctoml_event event = {};
        event.kind = CTOML_END;
        event.line = line;
        visitor(context, &event);
    }
};

void copy(std::string_view reason, char *error, size_t error_size) {
    size_t count = reason.size() < error_size ? reason.size() : error_size - 1;
    memcpy(error, reason.data(), count);
    error[count] = 0;
}

} // namespace

bool ctoml_parse(
    const char *text, size_t length, void *context, ctoml_visitor visitor, unsigned *error_line,
    char *error, size_t error_size) {
    unsigned line = 1;
    try {
        toml::table table = toml::parse(std::string_view(text, length));
        Visit(context, visitor).node({}, table, 1);
        return true;
    } catch (const toml::parse_error &failure) {
        line = failure.source().begin.line;
        copy(failure.description(), error, error_size);
    } catch (const std::exception &failure) {
        copy(failure.what(), error, error_size);
    }
    *error_line = line;
    return false;
}
