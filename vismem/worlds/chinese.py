"""Chinese words and templates."""

from vismem.worlds.language import Language


def _plain(text: str) -> str:
    return "".join(text.split()).replace(",", "，").rstrip("。")


_ADJECTIVES = "[{size}的][{color}][{fill}]"

_PLACES = {
    "top left": ("左上角", "左上方"),
    "top": ("顶部",),
    "top right": ("右上角", "右上方"),
    "left": ("左边", "左侧"),
    "middle": ("中间", "中央"),
    "right": ("右边", "右侧"),
    "bottom left": ("左下角", "左下方"),
    "bottom": ("底部",),
    "bottom right": ("右下角", "右下方"),
}
_RELATIONS = {
    "left of": ("左边", "左侧"),
    "right of": ("右边", "右侧"),
    "above": ("上方", "上面"),
    "below": ("下方", "下面"),
}
_SIDES = {
    **_RELATIONS,
    "above left of": ("左上方",),
    "above right of": ("右上方",),
    "below left of": ("左下方",),
    "below right of": ("右下方",),
}

CHINESE = Language(
    words={
        "noun": {
            None: ("图形",),
            "circle": ("圆形", "圆圈"),
            "square": ("正方形", "方块"),
            "triangle": ("三角形",),
            "diamond": ("菱形",),
            "cross": ("十字", "十字形"),
            "star": ("五角星", "星星"),
        },
        "measure": {None: ("个",), "star": ("颗",)},
        "color": {
            "red": ("红色",),
            "orange": ("橙色", "橘色"),
            "yellow": ("黄色",),
            "green": ("绿色",),
            "cyan": ("青色",),
            "blue": ("蓝色",),
            "purple": ("紫色",),
            "pink": ("粉色", "粉红色"),
        },
        "size": {"small": ("小",), "large": ("大",)},
        "fill": {"solid": ("实心",), "outline": ("空心",), "striped": ("条纹",)},
        "background": {
            "white": ("白色",),
            "grey": ("灰色",),
            "black": ("黑色",),
            "navy": ("深蓝色", "藏青色"),
        },
        "place": {
            **_PLACES,
            "left half": ("左半边",),
            "right half": ("右半边",),
            "top half": ("上半部分",),
            "bottom half": ("下半部分",),
        },
        "relation": _RELATIONS,
        "to": _PLACES,
        "side": _SIDES,
        "its_side": {side: tuple(f"它{word}" for word in words) for side, words in _SIDES.items()},
        "direction": _SIDES,
        "way": {
            "left of": ("左",),
            "right of": ("右",),
            "above": ("上",),
            "below": ("下",),
        },
        "recalled": {
            "it": ("它",),
            "first": ("第一个", "你画的第一个"),
            "before that": ("在那之前画的那个", "在那之前你画的那个"),
        },
        "steps": {
            1: ("撤销上一步", "取消上一步"),
            2: ("撤销前两步", "取消前两步"),
            3: ("撤销前三步", "取消前三步"),
        },
        "number": {2: ("两",), 3: ("三",), 4: ("四",), 5: ("五",)},
        "attribute": {
            "shape": ("形状",),
            "color": ("颜色",),
            "size": ("大小",),
            "fill": ("填充",),
        },
        "answer": {True: ("是",), False: ("否",)},
    },
    templates={
        "a": (
            f"一{{measure}}{_ADJECTIVES}{{noun}}",
            "某个{color}的东西",
            "某个{size}的东西",
            "某个{fill}的东西",
        ),
        "the": (f"那{{measure}}{_ADJECTIVES}{{noun}}",),
        "none": (f"没有{_ADJECTIVES}{{noun}}", f"没有任何{_ADJECTIVES}{{noun}}"),
        "one": (
            f"恰好一{{measure}}{_ADJECTIVES}{{noun}}",
            f"只有一{{measure}}{_ADJECTIVES}{{noun}}",
        ),
        "many": (
            f"{{number}}{{measure}}{_ADJECTIVES}{{noun}}",
            f"恰好{{number}}{{measure}}{_ADJECTIVES}{{noun}}",
        ),
        "kinds": (f"{_ADJECTIVES}{{noun}}",),
        "bare": ("{a}",),
        "at": ("{place}有{a}", "{a}在{place}"),
        "relation": ("{a}在{b}的{relation}", "{b}的{relation}有{a}"),
        "chain": ("{a}在{b}的{relation}、{c}的{second}",),
        "between": ("{a}在{b}和{c}之间", "{a}在{b}和{c}中间"),
        "row": ("{a}在一排图形当中",),
        "background": ("{text}，{background}背景", "{background}背景上，{text}"),
        "is there": ("有{a}吗？",),
        "how many": ("有几个{kinds}？", "一共有多少个{kinds}？"),
        "which": ("{the}的{attribute}是什么？",),
        "more": ("{kinds}比{others}多吗？",),
        "same": ("{the}和{other}的{attribute}相同吗？",),
        "is it": ("{the}在{other}的{relation}吗？",),
        "where is": ("{the}在哪里？",),
        "in": ("{place}",),
        "into": ("{to}",),
        "beside": ("{the}的{side}",),
        "beside it": ("{the}的{side}", "{its_side}"),
        "beside two": ("{the}的{side}、{other}的{second_side}",),
        "add": ("在{where}画{a}", "在{where}加{a}", "在{where}放{a}", "把{a}放在{where}"),
        "again": ("再画一个一样的，但在{direction}", "再来一个一样的，但在{direction}"),
        "remove": ("去掉{the}", "删除{the}"),
        "put back": ("把你去掉的放回来", "恢复你去掉的图形"),
        "alter color": ("把{the}变成{color}", "把{the}涂成{color}"),
        "alter size": ("把{the}变{size}",),
        "restore color": ("把{the}变回一开始的颜色",),
        "restore size": ("把{the}变回一开始的大小",),
        "move": ("把{the}移到{whither}", "把{the}挪到{whither}"),
        "swap": ("把{the}和{other}交换位置", "交换{the}和{other}的位置"),
        "undo": ("{steps}",),
        "restyle color": ("把所有图形变成{color}", "把所有图形涂成{color}"),
        "restyle fill": ("把所有图形变成{fill}的",),
        "restyle background": ("把背景变成{background}",),
        "restore": ("把图修好", "把图清理干净"),
        "there should be": ("应该是：{text}",),
        "nothing": ("{place}不应该有东西",),
        "the at": ("{place}的{the}",),
        "should be": ("{the}应该是{value}的",),
        "should be a": ("{the}应该是{a}",),
        "should lie": ("{the}应该在{where}",),
        "further": ("{the}应该再往{way}一些",),
    },
    joiners=("，", "，", "，"),
    unspell=_plain,
)
