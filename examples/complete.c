/* Answers one prompt with a model, and prints the answer while it is written.
 *
 *     cc complete.c $(pkg-config --cflags --libs cachalot) -o complete
 *     ./complete MODEL.gguf 'What is the capital of France?'
 */
#include <cachalot/cachalot.h>
#include <stdio.h>
#include <string.h>

/* Called for every piece of the answer, on a thread of the library. */
static int on_event(const cachalot_event* event, void* user) {
    (void)user;
    if (event->kind != CACHALOT_EVENT_CONTENT) return 0;
    fwrite(event->text, 1, event->text_size, stdout);
    return fflush(stdout); /* not 0 if nobody reads any more: that cancels */
}

/* A conversation of one message, in JSON. Returns 0 if there is no room. */
static int write_messages(char* out, size_t room, const char* prompt) {
    const char *begin = "[{\"role\": \"user\", \"content\": \"", *end = "\"}]";
    size_t size = strlen(begin);
    if (room < 6 * strlen(prompt) + size + strlen(end) + 1) return 0;
    memcpy(out, begin, size);
    for (; *prompt; ++prompt) {
        const unsigned char c = (unsigned char)*prompt;
        if (c == '"' || c == '\\' || c < 0x20)
            size += (size_t)sprintf(out + size, "\\u%04x", c);
        else
            out[size++] = *prompt;
    }
    memcpy(out + size, end, strlen(end) + 1);
    return 1;
}

int main(int argc, char** argv) {
    static char messages[1 << 20];
    cachalot_engine* engine;
    cachalot_request* request;
    cachalot_request_options options;
    cachalot_error error;

    if (argc != 3 || !write_messages(messages, sizeof messages, argv[2])) {
        fprintf(stderr, "usage: %s MODEL PROMPT\n", argv[0]);
        return 2;
    }

    /* NULL: all options are chosen by what the model and the machine are. */
    if (cachalot_open(argv[1], NULL, &engine, &error) != CACHALOT_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }

    cachalot_request_options_init(&options, sizeof options);
    options.messages = messages;
    options.temperature = 0; /* the same answer each time */
    options.on_event = on_event;

    /* The answer is written while this thread could do something else. */
    if (cachalot_submit(engine, &options, &request, &error) != CACHALOT_OK ||
        cachalot_wait(request, -1, NULL, &error) != CACHALOT_OK)
        fprintf(stderr, "%s\n", error.message);
    else
        putchar('\n');

    cachalot_request_free(request);
    cachalot_close(engine);
    return error.status != CACHALOT_OK;
}
