/* Both ends of a measured TCP proxy: the server behind it, and the clients in front of it. In C, so that they cost
 * little beside what is measured. A thread for each connection.
 *
 *   tcp_peer serve PORT [CERTIFICATE KEY]             speaks TLS with a certificate
 *   tcp_peer ask PORT KIND NUMBER CONNECTIONS TIMES [RATE]
 *
 * A connection begins with KIND (one letter) and NUMBER (eight bytes, big-endian):
 *   E  echo: each request of 128 bytes gets an answer of NUMBER bytes; TIMES requests on each connection, RATE a second
 *   D  down: the server sends NUMBER bytes
 *   U  up: the client sends NUMBER bytes and gets one back
 *   C  connect: the server sends one byte; TIMES connections, one after the other
 * `ask` prints the seconds it took, and for E the median and the 99th percentile of the answers in microseconds.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { REQUEST = 128, BUFFER = 256 << 10 };

struct peer { int fd; SSL *ssl; };
struct job { int port; char kind; uint64_t number; long times; double rate; float *us; long made; };

static SSL_CTX *context;

static void fail(const char *what) { perror(what); exit(1); }

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static long get(struct peer *p, void *data, size_t size) {
    return p->ssl ? SSL_read(p->ssl, data, (int)size) : read(p->fd, data, size);
}

/* What comes is of no interest but for the head of a connection, which is short enough to come as a whole. */
static int get_all(struct peer *p, char *data, uint64_t size) {
    while (size) {
        long n = get(p, data, size < BUFFER ? size : BUFFER);
        if (n <= 0) return 0;
        size -= (uint64_t)n;
    }
    return 1;
}

static int put_all(struct peer *p, const char *data, uint64_t size) {
    while (size) {
        size_t piece = size < BUFFER ? size : BUFFER;
        long n = p->ssl ? SSL_write(p->ssl, data, (int)piece) : write(p->fd, data, piece);
        if (n <= 0) return 0;
        size -= (uint64_t)n;
    }
    return 1;
}

static void no_delay(int fd) {
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static void *serve_one(void *argument) {
    struct peer p = {(int)(intptr_t)argument, NULL};
    char *buffer = calloc(1, BUFFER);
    unsigned char head[9];
    no_delay(p.fd);
    if (context) {
        p.ssl = SSL_new(context);
        SSL_set_fd(p.ssl, p.fd);
        if (SSL_accept(p.ssl) <= 0) goto end;
    }
    if (!get_all(&p, (char *)head, 1) || !get_all(&p, (char *)head + 1, 8)) goto end;
    uint64_t number = 0;
    for (int i = 1; i < 9; i++) number = number << 8 | head[i];
    switch (head[0]) {
    case 'E': while (get_all(&p, buffer, REQUEST) && put_all(&p, buffer, number)) {} break;
    case 'D': put_all(&p, buffer, number); break;
    case 'U': if (get_all(&p, buffer, number)) put_all(&p, buffer, 1); break;
    case 'C': put_all(&p, buffer, 1); break;
    }
    if (p.ssl) SSL_shutdown(p.ssl);
    shutdown(p.fd, SHUT_WR);
    while (read(p.fd, buffer, BUFFER) > 0) {}
end:
    if (p.ssl) SSL_free(p.ssl);
    close(p.fd);
    free(buffer);
    return NULL;
}

static struct sockaddr_in place(int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

static void serve(int port) {
    struct sockaddr_in a = place(port);
    int one = 1, listening = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listening, (void *)&a, sizeof a) || listen(listening, 4096)) fail("listen");
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, 256 << 10);
    for (;;) {
        pthread_t thread;
        int fd = accept(listening, NULL, NULL);
        if (fd >= 0 && pthread_create(&thread, &attributes, serve_one, (void *)(intptr_t)fd)) close(fd);
    }
}

static struct peer begin(struct job *j) {
    struct sockaddr_in a = place(j->port);
    struct peer p = {socket(AF_INET, SOCK_STREAM, 0), NULL};
    if (connect(p.fd, (void *)&a, sizeof a)) fail("connect");
    no_delay(p.fd);
    char head[9] = {j->kind};
    for (int i = 0; i < 8; i++) head[8 - i] = (char)(j->number >> (8 * i));
    if (!put_all(&p, head, 9)) fail("begin");
    return p;
}

static void wait_for_end(struct peer *p, char *buffer) {
    shutdown(p->fd, SHUT_WR);
    while (read(p->fd, buffer, BUFFER) > 0) {}
    close(p->fd);
}

static void *ask_one(void *argument) {
    struct job *j = argument;
    char *buffer = calloc(1, BUFFER);
    if (j->kind == 'C') {
        for (long i = 0; i < j->times; i++) {
            struct peer p = begin(j);
            if (!get_all(&p, buffer, 1)) fail("C");
            wait_for_end(&p, buffer);
        }
        return NULL;
    }
    struct peer p = begin(j);
    if (j->kind == 'D' && !get_all(&p, buffer, j->number)) fail("D");
    if (j->kind == 'U' && !(put_all(&p, buffer, j->number) && get_all(&p, buffer, 1))) fail("U");
    double next = now();
    for (long i = 0; j->kind == 'E' && i < j->times; i++) {
        if (j->rate > 0) {
            next += 1 / j->rate;
            double left = next - now();
            if (left > 0) usleep((useconds_t)(left * 1e6));
        }
        double began = now();
        if (!put_all(&p, buffer, REQUEST) || !get_all(&p, buffer, j->number)) fail("E");
        j->us[j->made++] = (float)((now() - began) * 1e6);
    }
    wait_for_end(&p, buffer);
    free(buffer);
    return NULL;
}

static int by_size(const void *a, const void *b) {
    float d = *(const float *)a - *(const float *)b;
    return d < 0 ? -1 : d > 0;
}

static void ask(struct job j, int connections) {
    pthread_t *threads = calloc((size_t)connections, sizeof *threads);
    struct job *jobs = calloc((size_t)connections, sizeof *jobs);
    double began = now();
    for (int i = 0; i < connections; i++) {
        jobs[i] = j;
        jobs[i].us = calloc((size_t)j.times + 1, sizeof(float));
        if (pthread_create(&threads[i], NULL, ask_one, &jobs[i])) fail("thread");
    }
    for (int i = 0; i < connections; i++) pthread_join(threads[i], NULL);
    double seconds = now() - began;
    float *all = calloc((size_t)(connections * j.times) + 1, sizeof *all);
    long made = 0;
    for (int i = 0; i < connections; i++)
        for (long k = 0; k < jobs[i].made; k++) all[made++] = jobs[i].us[k];
    qsort(all, (size_t)made, sizeof *all, by_size);
    printf("%.6f %.1f %.1f\n", seconds, made ? all[made / 2] : 0.0, made ? all[made * 99 / 100] : 0.0);
}

int main(int count, char **words) {
    signal(SIGPIPE, SIG_IGN);
    if (count >= 3 && !strcmp(words[1], "serve")) {
        if (count == 5) {
            context = SSL_CTX_new(TLS_server_method());
            if (SSL_CTX_use_certificate_chain_file(context, words[3]) != 1 ||
                SSL_CTX_use_PrivateKey_file(context, words[4], SSL_FILETYPE_PEM) != 1) {
                ERR_print_errors_fp(stderr);
                return 1;
            }
        }
        serve(atoi(words[2]));
    }
    if (count < 7 || strcmp(words[1], "ask")) return 2;
    struct job j = {.port = atoi(words[2]), .kind = words[3][0], .number = strtoull(words[4], NULL, 10),
                    .times = atol(words[6]), .rate = count > 7 ? atof(words[7]) : 0};
    ask(j, atoi(words[5]));
    return 0;
}
