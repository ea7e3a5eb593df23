/* Cachalot as a library: a model of the DeepSeek V4 family that answers requests, in C.
 *
 *     cachalot_options options;
 *     cachalot_options_init(&options, sizeof options);
 *     cachalot_engine* engine;
 *     cachalot_error error;
 *     if (cachalot_open("model.gguf", &options, &engine, &error) != CACHALOT_OK) puts(error.message);
 *
 * docs/c_api.md is the tour, examples/complete.c a whole program.
 *
 * Errors. A function that can fail returns a status and, where `error` is not NULL, writes the same status
 * and a message for people there. `error` belongs to the caller and may be shared by any number of calls, one
 * at a time. Nothing aborts, prints or throws; a NULL that is not allowed, a number out of its range, and any
 * other wrong argument, is CACHALOT_INVALID. When a function fails its outputs are NULL and 0.
 *
 * Ownership. What goes in belongs to the caller and is not used any more when the function has returned. What
 * comes out as cachalot_text, cachalot_tokens or cachalot_bytes belongs to the caller, who gives its `data`
 * to cachalot_free(). What an event points to lives as long as the callback runs.
 *
 * Threads. All functions may be called by any thread, several at a time with the same engine. Callbacks run
 * on threads of the library (but see cachalot_submit): those of one request one at a time and in order, those
 * of several requests perhaps at the same time. A callback should return soon, since answers wait for it. In
 * a callback these are refused with CACHALOT_INVALID, as they would wait for themselves: cachalot_close,
 * cachalot_wait and the functions of states.
 *
 * Units. Sizes are bytes, lengths tokens unless they are called sizes, times milliseconds. Texts are UTF-8. A
 * token is an index into the vocabulary: 0 <= token < vocab_size.
 *
 * Growth. A structure with a `size` is set up by its init function and may have more members in a later
 * version; programs compiled before go on working with it. CACHALOT_API_VERSION counts the versions of this
 * header.
 */
#ifndef CACHALOT_CACHALOT_H
#define CACHALOT_CACHALOT_H

#include <stddef.h>
#include <stdint.h>

#define CACHALOT_API_VERSION 1

#if defined(__GNUC__)
#define CACHALOT_API __attribute__((visibility("default")))
#else
#define CACHALOT_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cachalot_engine cachalot_engine;   /* a model that is open */
typedef struct cachalot_request cachalot_request; /* an answer that was asked for */

/* ---- versions ---------------------------------------------------------------------------------- */

/* The CACHALOT_API_VERSION that the library was compiled with: at least that of the program, or it lacks
 * something. */
CACHALOT_API int32_t cachalot_api_version(void);

/* The library's version as a text, "0.1.0". It need not be freed. */
CACHALOT_API const char* cachalot_version(void);

/* ---- errors ------------------------------------------------------------------------------------ */

typedef int32_t cachalot_status;
enum {
    CACHALOT_OK = 0,
    CACHALOT_INVALID = 1,   /* an argument is wrong; the message names it */
    CACHALOT_FAILED = 2,    /* a file, the machine, or an option that does not suit the model; the message
                             * names it */
    CACHALOT_TOO_LONG = 3,  /* the prompt does not fit into the context */
    CACHALOT_BUSY = 4,      /* too many requests wait; later there may be room */
    CACHALOT_NOT_FOUND = 5, /* no state is kept of these tokens */
    CACHALOT_MISMATCH = 6,  /* the bytes are no state, damaged, or of another model */
    CACHALOT_TIMEOUT = 7,   /* the answer has not ended yet */
    CACHALOT_CLOSING = 8,   /* the engine is being closed */
    CACHALOT_NO_MEMORY = 9, /* the machine, or kv_memory, has no room for it */
    CACHALOT_INTERNAL = 10  /* a mistake of the library's */
};

typedef struct cachalot_error {
    cachalot_status status;
    char message[1020]; /* ends with a zero; a longer message is cut */
} cachalot_error;

/* ---- what functions give ----------------------------------------------------------------------- */

typedef struct cachalot_text {
    char* data;  /* size bytes, and a zero behind them */
    size_t size; /* bytes */
} cachalot_text;

typedef struct cachalot_tokens {
    int32_t* data; /* [size] */
    size_t size;
} cachalot_tokens;

typedef struct cachalot_bytes {
    void* data;
    size_t size;
} cachalot_bytes;

/* Frees the `data` of one of these. NULL is allowed. */
CACHALOT_API void cachalot_free(void* data);

/* ---- opening ----------------------------------------------------------------------------------- */

enum { CACHALOT_KV_FP8 = 0, CACHALOT_KV_F32 = 1 }; /* precisions of attention states */
enum {
    CACHALOT_DRAFT_OFF = 0,
    CACHALOT_DRAFT_LOOKUP = 1, /* what followed before in the text */
    CACHALOT_DRAFT_AUTO = 2,   /* the model's drafter, or else LOOKUP, where it is faster */
    CACHALOT_DRAFT_DSPARK = 3, /* the model's drafter of this kind */
    CACHALOT_DRAFT_MTP = 4
};

/* A line for people, without a line break at its end. Notes come one at a time, by any thread, until
 * cachalot_open() has failed or cachalot_close() has returned. The callback should return soon, and must not
 * call functions with the engine, which may wait for it. */
typedef void (*cachalot_note_callback)(const char* note, void* user);

/* How a model is run. Options have the meaning that they have on the command line of `cachalot serve`. Of
 * context, kv_memory, expert_cache, engram_cache, engram and decoder_prefill also values in range may not
 * suit the model; then opening is CACHALOT_FAILED. */
typedef struct cachalot_options {
    size_t size;              /* of this structure, at most 4096 as that of any other */
    int32_t threads;          /* 0 to 1024; 0: one for each core */
    int32_t exact;            /* 1: activations stay float32 (slower); 0: int8 with quantised weights */
    int64_t context;          /* most tokens of a sequence; 0: what the model was trained for */
    int32_t chunk;            /* tokens of a prompt that are evaluated together, to 65536; 0: as is best */
    int32_t kv;               /* CACHALOT_KV_...: how states are rounded */
    int64_t kv_memory;        /* bytes for states, running and kept: at least for one of `context` tokens;
                               * 0: what suits the machine */
    int32_t parallel;         /* most answers that are written at the same time, 1 to 1024; 4 */
    int32_t queue;            /* most requests that wait, at least 1; 256 */
    int32_t draft;            /* CACHALOT_DRAFT_...; AUTO. The text is the same with each */
    int32_t reserved;         /* 0 */
    const char* expert_cache; /* memory for experts: "8GB", "25%" of them, "off": the whole model is mapped,
                               * "auto": off if the model fits into memory; NULL: auto */
    const char* expert_heat;  /* where to remember which experts are used: a file, whose folder exists, "off":
                               * nowhere, "auto": a file of the model in the user's cache folder; NULL: off */
    const char* const* expert_packs; /* [expert_pack_count]; NULL: the one beside the model, if any */
    size_t expert_pack_count;
    const char* kv_dir;             /* folder for states that outlive the engine, made if it is missing;
                                     * "off" or NULL: none. One that cannot be used is noted, and nothing is
                                     * kept there */
    int64_t kv_disk;                /* the most bytes that they may take there; 32 GiB */
    cachalot_note_callback on_note; /* told what was chosen and why, and later of what goes wrong beside
                                     * the answers; NULL: nobody */
    void* on_note_user;             /* passed to it */
    const char* engram_cache;    /* memory for rows of the Engram tables of V4.1: "2GB", "1%" of them, "off":
                                     * every row is read from disk each time, "all": the tables stay in memory,
                                     * "auto": all if they fit, else what is left, at most one percent; NULL:
                                     * auto */
    const char* engram;          /* GGUF file that has the tables; NULL: the model */
    const char* decoder_prefill; /* V4.1: how many tokens at the end of a prompt go through the second half of
                                     * the layers: "exact": all, "140", "auto": 140, but all with `exact` or
                                     * unrounded states; NULL: auto */
} cachalot_options;

/* Sets the options that are named above. `size` is sizeof(cachalot_options). NULL is allowed. Of a size
 * above 4096 nothing is set, and the structure is refused. */
CACHALOT_API void cachalot_options_init(cachalot_options* options, size_t size);

/* Opens a GGUF file (of a split model the first part) or the directory of a release. `options` may be NULL.
 * The engine is to be closed by cachalot_close(). Maps the weights, which takes no time, unless experts are
 * read into a cache. */
CACHALOT_API cachalot_status cachalot_open(const char* path, const cachalot_options* options,
                                           cachalot_engine** engine, cachalot_error* error);

/* Cancels what is running, waits until all callbacks have returned, and frees the engine. Requests stay
 * valid. No other function may be using the engine. NULL is allowed. CACHALOT_INVALID in a callback, and then
 * nothing has happened. */
CACHALOT_API cachalot_status cachalot_close(cachalot_engine* engine);

typedef struct cachalot_facts {
    size_t size;             /* of this structure */
    const char* name;        /* these two belong to the engine */
    const char* kernels;     /* the instruction set that computes, "avx512" */
    int64_t context;         /* most tokens of a sequence */
    int64_t trained_context; /* the most that `context` can be */
    int32_t vocab_size;
    int32_t layers;
    int32_t threads;                /* that compute */
    int32_t bos, eos;               /* tokens: of the beginning, of the end of a turn */
    int32_t think_begin, think_end; /* tokens around reasoning; -1: there is none */
    int32_t reserved;
} cachalot_facts;

/* What is known of the model. `facts->size` is to be set. */
CACHALOT_API cachalot_status cachalot_model_facts(const cachalot_engine* engine, cachalot_facts* facts,
                                                  cachalot_error* error);

/* ---- texts and tokens -------------------------------------------------------------------------- */

/* The tokens of `size` bytes of text; any bytes are allowed, and NULL if size is 0. special 0: "<|User|>" and
 * the like are text as any other, as they should be in what comes from outside; 1: they become the tokens
 * that steer the model. */
CACHALOT_API cachalot_status cachalot_tokenize(const cachalot_engine* engine, const char* text, size_t size,
                                               int32_t special, cachalot_tokens* tokens,
                                               cachalot_error* error);

/* The bytes of `tokens` [count] one after the other; not always whole characters. */
CACHALOT_API cachalot_status cachalot_detokenize(const cachalot_engine* engine, const int32_t* tokens,
                                                 size_t count, cachalot_text* text, cachalot_error* error);

enum { CACHALOT_THINK_OFF = 0, CACHALOT_THINK_ON = 1, CACHALOT_THINK_HIGH = 2, CACHALOT_THINK_MAX = 3 };

/* The prompt of a conversation: what cachalot_submit() would have the model read.
 *
 * messages: a JSON array of messages as in OpenAI's chat API, or an object with "messages" and perhaps
 * "tools". A last message of the assistant is continued. tools: a JSON array of tools as there; NULL: none
 * beside those. thinking: CACHALOT_THINK_... text, tokens: either may be NULL.
 *
 * Of calls that this engine has written itself cachalot_submit() puts back the very tokens; this writes them
 * anew. */
CACHALOT_API cachalot_status cachalot_apply_template(const cachalot_engine* engine, const char* messages,
                                                     const char* tools, int32_t thinking, cachalot_text* text,
                                                     cachalot_tokens* tokens, cachalot_error* error);

/* ---- requests ---------------------------------------------------------------------------------- */

typedef struct cachalot_usage {
    int64_t prompt_tokens;
    int64_t cached_tokens;     /* of them, those whose state was known already */
    int64_t completion_tokens; /* 0 if the answer was cancelled or failed */
    int64_t reasoning_tokens;  /* of them */
} cachalot_usage;

/* Kinds of events, with the members that they have. Every request has exactly one CACHALOT_EVENT_END, as its
 * last. */
enum {
    CACHALOT_EVENT_STARTED = 0,    /* usage: prompt and cached tokens */
    CACHALOT_EVENT_PROGRESS = 1,   /* done, total: tokens of the prompt. Also when nothing came for seconds */
    CACHALOT_EVENT_REASONING = 2,  /* text */
    CACHALOT_EVENT_CONTENT = 3,    /* text */
    CACHALOT_EVENT_CALL_BEGIN = 4, /* call, call_id, text: the tool's name */
    CACHALOT_EVENT_CALL_ARGUMENTS = 5, /* call, call_id, text: more of the arguments' JSON */
    CACHALOT_EVENT_CALL_END = 6,       /* call, call_id */
    CACHALOT_EVENT_END = 7             /* reason and the members after it */
};

enum {
    CACHALOT_END_STOP = 0,      /* the model ended its answer, or a stop string came */
    CACHALOT_END_LENGTH = 1,    /* max_tokens, or the context is full */
    CACHALOT_END_CALLS = 2,     /* the model waits for results of tools */
    CACHALOT_END_CANCELLED = 3, /* by cachalot_cancel(), the callback or cachalot_close() */
    CACHALOT_END_ERROR = 4      /* status and message say which */
};

typedef struct cachalot_event {
    size_t size;         /* of this structure */
    int32_t kind;        /* CACHALOT_EVENT_... */
    int32_t reason;      /* CACHALOT_END_... */
    const char* text;    /* whole characters, and a zero behind them; never NULL */
    size_t text_size;    /* bytes */
    size_t call;         /* calls are counted from 0 */
    const char* call_id; /* never NULL */
    int64_t done, total;
    cachalot_usage usage;
    const char* stop;      /* the stop string that came; empty: none; never NULL */
    const int32_t* tokens; /* [token_count]: prompt and answer, without eos; NULL: not known */
    size_t token_count;
    cachalot_status status;
    int32_t reserved;
    const char* message; /* of an error; never NULL */
} cachalot_event;

/* Returns 0 to go on; anything else cancels the request. */
typedef int (*cachalot_event_callback)(const cachalot_event* event, void* user);

typedef struct cachalot_request_options {
    size_t size; /* of this structure */

    /* One of three. A conversation, see cachalot_apply_template(): */
    const char* messages;
    const char* tools;
    const char* tool_choice; /* "auto", "none", "required" or "function:NAME"; NULL: auto */
    int32_t thinking;        /* CACHALOT_THINK_...; OFF */
    int32_t single_call;     /* 1: the answer ends with its first call; 0 */
    /* or a text that is continued as it is: bos goes before it, special tokens in it are text: */
    const char* text;
    size_t text_size;
    /* or tokens [token_count] that are continued, with nothing before them: */
    const int32_t* tokens;
    size_t token_count;

    /* Sampling. Where it is said -1 stands for what the model recommends; other negative numbers are refused
     * there. */
    float temperature;        /* 0 to 100, 0: the most probable token; -1: recommended */
    float top_p;              /* 0 to 1, 1: off; -1: recommended */
    float min_p;              /* 0 to 1, 0: off; 0 */
    int32_t top_k;            /* 0: off; 0 */
    float repetition_penalty; /* 0.01 to 100, 1: off; 1 */
    float presence_penalty;   /* -100 to 100; 0 */
    float frequency_penalty;  /* -100 to 100; 0 */
    int32_t ignore_eos;       /* 1: goes on when the model ends its answer; 0 */
    int64_t seed;             /* the same seed gives the same text; -1: a new one each time */
    int64_t max_tokens;       /* of the answer; -1: until the context is full */
    const char* const* stops; /* [stop_count]: the content ends before the first of them */
    size_t stop_count;

    const char* space;                /* states are shared only within a space; NULL: the one called "" */
    cachalot_event_callback on_event; /* NULL: nobody, and cachalot_wait() tells how it ended */
    void* on_event_user;              /* passed to it */

    /* The form that the answer has behind its reasoning, unless it is calls; at most one. NULL and 0: none. */
    const char* json_schema; /* it is JSON that this JSON schema describes */
    const char* regex;       /* it matches this regular expression, as a whole */
    const char* grammar;     /* it is a text of this grammar, in GBNF or in Lark's notation */
    int32_t json_object;     /* 1: it is a JSON object; 0 */
    int32_t reserved;        /* 0 */
} cachalot_request_options;

/* Sets the options that are named above. `size` is sizeof(cachalot_request_options). NULL is allowed. Of a
 * size above 4096 nothing is set, and the structure is refused. */
CACHALOT_API void cachalot_request_options_init(cachalot_request_options* options, size_t size);

/* Asks for an answer and returns at once; what is wrong with the request is said here. Up to options.parallel
 * answers are written at the same time, in common passes over the weights; none changes what another one
 * says. The callback may run before this returns; of an answer that its own callback has cancelled by then,
 * CACHALOT_EVENT_END may come from within this function, on the caller's thread. The request is to be freed by
 * cachalot_request_free(). */
CACHALOT_API cachalot_status cachalot_submit(cachalot_engine* engine, const cachalot_request_options* options,
                                             cachalot_request** request, cachalot_error* error);

/* Ends the answer within about one token; its last event follows. What was computed is kept for later
 * requests. Does nothing if it has ended, or for NULL. */
CACHALOT_API void cachalot_cancel(cachalot_request* request);

/* How an answer ended. */
typedef struct cachalot_result {
    size_t size;    /* of this structure */
    int32_t reason; /* CACHALOT_END_... */
    int32_t reserved;
    cachalot_usage usage;
} cachalot_result;

/* Waits until the answer has ended and its callback has returned. timeout: milliseconds; negative: for ever.
 * `result` may be NULL, else its size is to be set. CACHALOT_OK also for an answer that was cancelled; of one
 * that failed, its error; CACHALOT_TIMEOUT if it goes on. */
CACHALOT_API cachalot_status cachalot_wait(cachalot_request* request, int64_t timeout,
                                           cachalot_result* result, cachalot_error* error);

/* Cancels the answer if it goes on, waits for its end as cachalot_wait() does (not in a callback), and frees
 * the request. NULL is allowed. */
CACHALOT_API void cachalot_request_free(cachalot_request* request);

/* ---- states ------------------------------------------------------------------------------------ */

/* An engine keeps the attention states of what it has read and written, while there is memory (kv_memory): at
 * the end of an answer, before its header, every 2048 tokens. A request whose prompt begins with such tokens
 * does not compute them again (cached_tokens). These functions take states out of one engine and put them
 * into another one, or into the same later.
 *
 * A state belongs to the bytes of the model's files, to `exact`, `kv` and the kernels; it is refused
 * elsewhere. The first call of an engine reads the whole model to know it, unless its hash is kept in the
 * user's cache folder from before. */

/* The longest kept state of a beginning of `tokens` [count], for example of those of CACHALOT_EVENT_END, as
 * bytes. length: its tokens; may be NULL. space: as in the request. CACHALOT_NOT_FOUND: there is none. */
CACHALOT_API cachalot_status cachalot_state_save(cachalot_engine* engine, const int32_t* tokens, size_t count,
                                                 const char* space, cachalot_bytes* bytes, int64_t* length,
                                                 cachalot_error* error);

/* The same into a file, which is there as a whole or not at all, for its owner only. */
CACHALOT_API cachalot_status cachalot_state_save_file(cachalot_engine* engine, const int32_t* tokens,
                                                      size_t count, const char* space, const char* path,
                                                      int64_t* length, cachalot_error* error);

/* Keeps the state that was saved as `bytes` [size]. They may come from anywhere: what is not a state of this
 * model is CACHALOT_MISMATCH. length: its tokens; may be NULL. */
CACHALOT_API cachalot_status cachalot_state_load(cachalot_engine* engine, const void* bytes, size_t size,
                                                 const char* space, int64_t* length, cachalot_error* error);

/* The same from a regular file. Of one that is no state of this model only the beginning is read. A file that
 * cannot be read, a device or a pipe is CACHALOT_FAILED. */
CACHALOT_API cachalot_status cachalot_state_load_file(cachalot_engine* engine, const char* path,
                                                      const char* space, int64_t* length,
                                                      cachalot_error* error);

#ifdef __cplusplus
}
#endif

#endif /* CACHALOT_CACHALOT_H */
