#include <cstdio>

int main() {
    std::puts("cachalot 0.1.0");
    return 0;
}
