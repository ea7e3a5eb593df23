// Hand-written material from which strings.mjs makes the test strings. Nothing here was assigned after Unicode 13.

export const prose = [
    "The sperm whale dives for an hour and a half, deeper than any other mammal, and comes back with squid.",
    "It wasn't the captain's fault; they'd've turned around if we'd asked. \"Really?\" she said -- \"I can't believe it.\"",
    "Mr. O'Neill paid $1,234.56 (about €1.100,00) on 2024-02-29 at 23:59:59, i.e. one second before midnight.",
    "  Leading spaces, trailing spaces   \n\n\tand a tab.  Two  spaces   three    four.\r\nWindows line.\rOld Mac line.\n",
    "naïve café façade coöperate Ångström résumé — “quoted” ‘single’ … ellipsis – dash",
    "ALL CAPS, camelCase, snake_case, kebab-case, SCREAMING_SNAKE, dot.separated.words, e-mail: a.b+c@example.org",
    "https://example.org/path/to/page.html?query=1&other=%20x#fragment and C:\\Program Files\\App\\bin",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. Straße, ẞ, ß.",
    "Voix ambiguë d'un cœur qui, au zéphyr, préfère les jattes de kiwis.",
    "El pingüino Wenceslao hizo kilómetros bajo exhaustiva lluvia; ¿y tú? ¡Añoraba a su querido cachorro!",
    "Pchnąć w tę łódź jeża lub ośm skrzyń fig. Příliš žluťoučký kůň úpěl ďábelské ódy.",
    "Съешь же ещё этих мягких французских булок, да выпей чаю. Ґанок, їжак, єнот.",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. Τα ζώα τρέχουν· γιατί;",
    "Pijamalı hasta yağız şoföre çabucak güvendi. İIıi",
    "Tiếng Việt: Một con cá voi bơi dưới biển sâu, ăn mực và ngủ thẳng đứng.",
];

export const asian = [
    "抹香鲸潜入深海捕食乌贼，可以在水下停留九十分钟。",
    "鯨は深い海に潜り、一時間半も息を止める。カタカナとひらがな、漢字１２３。ー・゛゜々〆",
    "향유고래는 깊은 바다로 잠수하여 오징어를 잡아먹는다. ㄱㄴㄷ ㅏㅑㅓ",
    "你好，世界！今天是2024年2月29日，温度为-3.5℃。“引号”《书名》（括号）【方头】",
    "我用Python写了hello world程序,共12行。它work得很好!",
    "東京都港区六本木1-2-3　全角スペース　ＡＢＣ１２３！？",
    "推理：因为 A 大于 B，所以 答案 是 B。\n换行之后　继续。\n\n- 第一项\n- 第二项",
    "㐀㐁㐂 䶵 一丁丂 龥龦龧 鿿 豈更車 𠀀𠀁𪛖 〇〡〢〣 ㊀㊁ ㌀㍿",
    "ﾊﾝｶｸ ｶﾅ ﾃﾞｽ ゔゕゖ ヷヸヹヺ ㇰㇱㇲ 〱〲 ゟ ヿ ゠ ㄅㄆㄇ",
    "สวัสดีชาวโลก ปลาวาฬดำน้ำลึกมาก ๑๒๓๔",
    "ສະບາຍດີ ຊາວໂລກ ၊မင်္ဂလာပါ ကမ္ဘာ ភាសាខ្មែរ ១២៣",
];

export const rightToLeftAndIndic = [
    "الحوت يغوص في أعماق البحر ساعةً ونصفًا. ١٢٣٤٥ ٪ ؟ ، ؛",
    "بِسْمِ ٱللَّهِ ٱلرَّحْمَـٰنِ ٱلرَّحِيمِ",
    "הלווייתן צולל עמוק. שָׁלוֹם עוֹלָם ״ציטוט״ ׳גרש׳",
    "گربه‌ها نمی‌خوابند؛ ۱۲۳ کتاب‌ها",
    "नमस्ते दुनिया। क्षत्रिय ज्ञान हिन्दी में १२३४ ड़ ढ़ क़",
    "বাংলা ভাষা ৪৫৬ தமிழ் மொழி ௧௨௩ తెలుగు ಕನ್ನಡ മലയാളം ગુજરાતી ਪੰਜਾਬੀ සිංහල",
    "བོད་སྐད་ ༡༢༣ ქართული ენა հայերեն լեզու አማርኛ ፩፪፫ ᏣᎳᎩ ᓀᐦᐃᔭᐍᐏᐣ",
];

export const marksAndEmoji = [
    "e\u0301 a\u0300\u0301\u0302 Z\u0351\u036b\u0343a\u0310l\u0311g\u0336o\u0337 \u0301 alone, x\u20dd 3\u0301 .\u0301 \u0301\u0301",
    "👨‍👩‍👧‍👦 👩🏽‍🚀 🏳️‍🌈 🇩🇪🇫🇷🇯🇵 1️⃣ #️⃣ ❤️ ☺︎ 👍🏿 🤷‍♀️ 🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "😀😃😄 Hello😀World 😀 1😀2 。😀、 🐋🐳~🐳",
    "∀x∈ℝ: ∑ᵢ xᵢ² ≥ 0 ⇒ √x·π ≈ 3.14159… ½ ⅓ Ⅷ ⅷ ² ³ ₁ ① ⑳ ➊ ㉑ ൠ",
    "ｆｕｌｌ　ｗｉｄｔｈ ℌ𝔢𝔩𝔩𝔬 𝒲𝑜𝓇𝓁𝒹 𝟘𝟙𝟚 ﬁ ﬂ Ǆ ǅ ʰʲ ªº µ ŉ ẛ̣",
    "← → ↔ ▲ █▓▒░ ─│┌┐ ♠♣♥♦ © ® ™ § ¶ † ‡ • ‰ € £ ¥ ₿ ¢ ¤ ¦ ¨ ¯ ´ ¸ ° ¬ ± × ÷",
    "\u{1D165}\u{1D16E} \u{10FFFF} \uE000 \uFFFD \uFFFE \u{F0000} \uFEFFbom \u00ADsoft\u00ADhyphen \u200Bzero\u200Bwidth\u2060join",
];

export const code = [
    "#include <stdio.h>\n\nint main(int argc, char **argv) {\n\tfor (size_t i = 0; i < 10; i++) {\n\t\tprintf(\"%zu: %s\\n\", i, argv[i]);\n\t}\n\treturn 0;\n}\n",
    "template <class T>\nauto f(T&& x) -> decltype(std::forward<T>(x)) { return x->y[3] <=> ~0xFFu; }  // ok\n",
    "def fib(n: int) -> int:\n    \"\"\"Doc.\"\"\"\n    if n < 2:\n        return n\n    return fib(n - 1) + fib(n - 2)\n\n\nprint([fib(i) for i in range(10)])\n",
    "@dataclass\nclass A(B, metaclass=C):\n    x: dict[str, list[int]] = field(default_factory=dict)\n    async def __aenter__(self): ...\n",
    "fn main() {\n    let v: Vec<u8> = (0..=255).map(|x| x ^ 0b1010_1010).collect();\n    println!(\"{:?}\", &v[..10]);\n}\n",
    "const f = async ({a, b = 1, ...rest}) => `${a ?? b}: ${await rest?.c}`;\nexport default f; // ✓\n",
    "SELECT u.id, COUNT(*) AS n FROM users u LEFT JOIN orders o ON o.uid = u.id WHERE u.name LIKE '%x%' GROUP BY 1 HAVING n > 3;",
    "#!/bin/sh\nset -eu\nfor f in *.txt; do\n  [ -s \"$f\" ] && sed -e 's/[^a-z]//g' < \"$f\" | sort | uniq -c > \"${f%.txt}.out\" 2>&1\ndone\n",
    "<!DOCTYPE html>\n<html lang=\"en\"><body class='x y'>&nbsp;<p>Text &amp; more</p><!-- c --></body></html>\n",
    "{\"key\": [1, -2.5e10, true, null, \"\\u00e9\\n\"], \"nested\": {\"a\": {}, \"b\": []}}",
    "a: 1\nb:\n  - x\n  - y: |\n      text\n---\n# comment\n",
    "(defun fact (n) (if (<= n 1) 1 (* n (fact (- n 1))))) ; lisp\n-- haskell\nmain = mapM_ print $ filter (>3) [x*y | x <- [1..3], y <- [2..4]]\n",
    "public static void main(String[] args) throws IOException {\r\n    Map<String, List<Integer>> m = new HashMap<>();\r\n    m.computeIfAbsent(\"k\", k -> new ArrayList<>()).add(42);\r\n}\r\n",
    "package main\n\nimport \"fmt\"\n\nfunc main() {\n\tch := make(chan<- int, 1)\n\tdefer close(ch)\n\tfmt.Printf(\"%v\\n\", <-ch)\n}\n",
    "\\begin{equation}\n  \\int_0^\\infty e^{-x^2}\\,dx = \\frac{\\sqrt{\\pi}}{2} \\label{eq:gauss}\n\\end{equation}\n",
    "| a | b |\n|---|:-:|\n| 1 | **2** |\n\n```js\nlet x;\n```\n> quote\n\n1. one\n2. two\n   * nested\n***\n",
    "diff --git a/x b/x\n@@ -1,3 +1,4 @@\n-old\n+new\n context\n\n0x1F 1e-9 1_000_000 0b11 077 3.14f 12345678901234567890\n",
    "MOV  EAX, [EBX+4*ECX-0x10]   ; asm\nlabel:\n\tjmp\tlabel\n\t\t\t\t\n        \n",
    "s/foo/bar/g; $x =~ m{^\\s+(\\w+)\\b}x; @{$h->{list}}[0..$#a] ||= qw(a b c); %s %d %5.2f\n",
];

// Reasoning, tool calls and roles as they occur in prompts; the special tokens of the two vocabularies differ.
export const chat = [
    "<｜begin▁of▁sentence｜>You are helpful.<｜User｜>你好<｜Assistant｜><think>推理</think>答案<｜end▁of▁sentence｜>",
    "<｜User｜>Hello<｜Assistant｜></think>Hi! How can I help?<｜end▁of▁sentence｜><｜User｜>Thanks",
    "\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"get_weather\">\n<｜DSML｜parameter name=\"city\" string=\"true\">Paris</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜tool_calls><｜end▁of▁sentence｜>",
    "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{\"a\": 1}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
    "<|EOT|> <｜fim▁begin｜>a<｜fim▁hole｜>b<｜fim▁end｜> <｜▁pad▁｜><｜place▁holder▁no▁3｜>",
];

export const specials = [
    "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>", "<｜User｜>", "<｜Assistant｜>", "<think>", "</think>",
    "｜DSML｜", "<｜latest_reminder｜>", "<｜action｜>", "<｜query｜>", "<｜authority｜>", "<｜domain｜>", "<｜title｜>",
    "<｜read_url｜>", "<|EOT|>", "<｜fim▁hole｜>", "<｜fim▁begin｜>", "<｜fim▁end｜>", "<｜tool▁calls▁begin｜>",
    "<｜tool▁calls▁end｜>", "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁outputs▁begin｜>",
    "<｜tool▁outputs▁end｜>", "<｜tool▁output▁begin｜>", "<｜tool▁output▁end｜>", "<｜tool▁sep｜>",
    "<｜place▁holder▁no▁0｜>", "<｜place▁holder▁no▁3｜>",
];

// Near misses: none of these is a special token.
export const almostSpecials = [
    "<｜User", "<｜User｜", "｜User｜>", "<|User|>", "< think>", "<think", "think>", "</ think>", "<THINK>", "<｜user｜>",
    "<｜begin of sentence｜>", "<｜begin_of_sentence｜>", "｜DSML", "DSML｜", "|DSML|", "<<", "<｜<", "<｜｜>", "｜", "▁",
];
